#!/bin/sh
# Installs the servers that the tests start, from Debian's packages, where they are missing. No service starts.
# A server of yours in ECHO_TEST_POSTGRES_URL or ECHO_TEST_MYSQL_URL is used in place of one that would be installed.
set -eu
PATH=$PATH:/usr/sbin
cd "$(dirname "$0")/.."

missing=
if [ -z "${ECHO_TEST_POSTGRES_URL:-}" ] && ! command -v initdb >/dev/null && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
    missing="postgresql"
fi
if [ -z "${ECHO_TEST_MYSQL_URL:-}" ] && ! { command -v mariadbd && command -v mariadb-install-db; } >/dev/null; then
    # The programs without the service; the second has one that the first needs to make a data folder.
    missing="$missing mariadb-server-core mariadb-client-core"
fi
command -v nginx >/dev/null || missing="$missing nginx-light"
# Debian's packages of FTP servers exclude each other, so these are unpacked for the tests alone, each with the libraries
# that miss, and not installed; that needs no rights. Where there are no such packages, those of the PATH must do.
unpacked=.servers
ftp=
for server in vsftpd proftpd; do
    if [ ! -d "$unpacked/$server" ] && { command -v apt-get || ! command -v "$server"; } >/dev/null; then ftp="$ftp $server"; fi
done
[ -n "$missing$ftp" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "servers: the tests need PostgreSQL, MariaDB, nginx, vsftpd and proftpd (with mod_tls and mod_digest): install them" >&2
    echo "servers: so that initdb, mariadbd, nginx, vsftpd and proftpd are on the PATH, or name databases of yours with" >&2
    echo "servers: ECHO_TEST_POSTGRES_URL and ECHO_TEST_MYSQL_URL" >&2
    exit 1
fi
run=; [ "$(id -u)" = 0 ] || run=sudo

# Unpacks the packages and those that they need and this machine hasn't: unpack NAME PACKAGES...
unpack() (
    name=$1; shift
    needed=$(apt-get install -s -q --no-install-recommends "$@" | sed -n 's/^Inst \([^ ]*\) .*/\1/p')
    all=$(printf '%s\n' "$@" $needed | sort -u)
    echo "servers: unpacking" $all >&2
    mkdir -p "$unpacked"
    # Under the final name only when whole.
    part=$(mktemp -d "$PWD/$unpacked/part.XXXXXX")
    trap 'rm -rf "$part"' EXIT
    # shellcheck disable=SC2086 # a list
    (cd "$part" && apt-get download -q $all)
    mkdir "$part/$name"
    for package in "$part"/*.deb; do dpkg-deb -x "$package" "$part/$name"; done
    mv "$part/$name" "$unpacked/$name"
)

if [ -n "$ftp" ] && ! apt-get install -s -q vsftpd >/dev/null 2>&1; then $run apt-get update -q; fi
for server in $ftp; do
    case $server in
        vsftpd) unpack vsftpd vsftpd ;;
        proftpd) unpack proftpd proftpd-core proftpd-mod-crypto ;;
    esac
done
[ -n "$missing" ] || exit 0

echo "servers: installing$(printf ' %s' $missing)" >&2
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
