#!/bin/sh
# Installs the database servers that the tests start, from Debian's packages, where they are missing. No service starts.
# A server of yours in ECHO_TEST_POSTGRES_URL or ECHO_TEST_MYSQL_URL is used in place of one that would be installed.
set -eu
PATH=$PATH:/usr/sbin

missing=
if [ -z "${ECHO_TEST_POSTGRES_URL:-}" ] && ! command -v initdb >/dev/null && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
    missing="postgresql"
fi
if [ -z "${ECHO_TEST_MYSQL_URL:-}" ] && ! { command -v mariadbd && command -v mariadb-install-db; } >/dev/null; then
    # The programs without the service; the second has one that the first needs to make a data folder.
    missing="$missing mariadb-server-core mariadb-client-core"
fi
command -v nginx >/dev/null || missing="$missing nginx-light"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "servers: the tests need PostgreSQL, MariaDB and nginx: install them so that initdb, mariadbd and nginx are on the PATH, or" >&2
    echo "servers: name servers of yours with ECHO_TEST_POSTGRES_URL and ECHO_TEST_MYSQL_URL" >&2
    exit 1
fi
echo "servers: installing$(printf ' %s' $missing)" >&2
run=; [ "$(id -u)" = 0 ] || run=sudo

# Debian's packages ask this program before they start a service; one that is there is somebody's own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '$run rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' | $run tee "$policy" >/dev/null
    $run chmod 755 "$policy"
fi
$run apt-get update -q
# shellcheck disable=SC2086 # a list
$run env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
