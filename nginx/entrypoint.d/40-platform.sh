#!/bin/sh
# Writes /run/platform: limits from the environment, and how to listen with or without a certificate.
# Run by the image's entry point before nginx starts; OUT, CERTS and the ports are variables for tests.
set -eu

out=${OUT:-/run/platform}
certs=${CERTS:-/etc/nginx/certs}
mkdir -p "$out"

fail() {
    echo "nginx cannot start: $1" >&2
    exit 1
}

number() { # NAME VALUE
    case $2 in '' | *[!0-9]*) fail "$1 must be a whole number, and is '$2'. Mend it in .env." ;; esac
}

rate() { # NAME VALUE
    case $2 in *[0-9]r/s | *[0-9]r/m) ;; *) fail "$1 must be a rate such as 100r/s or 30r/m, and is '$2'. Mend it in .env." ;; esac
}

number MAX_UPLOAD_BYTES "${MAX_UPLOAD_BYTES:=1073741824}"
number MAX_REQUEST_BYTES "${MAX_REQUEST_BYTES:=33554432}"
number NGINX_CONNECTIONS "${NGINX_CONNECTIONS:=200}"
rate NGINX_API_RATE "${NGINX_API_RATE:=100r/s}"
rate NGINX_LOGIN_RATE "${NGINX_LOGIN_RATE:=10r/s}"
rate NGINX_PREDICT_RATE "${NGINX_PREDICT_RATE:=1000r/s}"

# A form is a little larger than its file; what is over the limit of the service is refused by the service.
echo "client_max_body_size $((MAX_UPLOAD_BYTES + 1048576));" >"$out/upload-size.conf"
echo "client_max_body_size $((MAX_REQUEST_BYTES + 65536));" >"$out/request-size.conf"
cat >"$out/rates.conf" <<END
limit_req_zone \$binary_remote_addr zone=api:10m rate=$NGINX_API_RATE;
limit_req_zone \$binary_remote_addr zone=login:10m rate=$NGINX_LOGIN_RATE;
limit_req_zone \$binary_remote_addr zone=predict:10m rate=$NGINX_PREDICT_RATE;
limit_conn_zone \$binary_remote_addr zone=connections:10m;
limit_conn connections $NGINX_CONNECTIONS;
END

if [ -e "$certs/tls.crt" ] && [ -e "$certs/tls.key" ]; then
    [ -r "$certs/tls.key" ] || fail "the key tls.key cannot be read by user $(id -u). Give it that owner, or mode 0644 in a directory that is closed."
    echo "TLS: on. 80 redirects; 443, 8000 and 8001 speak https."
    cat >"$out/tls.conf" <<END
ssl_certificate $certs/tls.crt;
ssl_certificate_key $certs/tls.key;
ssl_protocols TLSv1.2 TLSv1.3;
ssl_session_cache shared:tls:5m;
ssl_session_timeout 1d;
ssl_session_tickets off;
error_page 497 =308 https://\$http_host\$request_uri;
END
    for each in web:443 api:8000 ml:8001; do
        printf 'listen %s ssl;\ninclude %s/tls.conf;\n' "${each#*:}" "$out" >"$out/listen-${each%:*}.conf"
    done
    echo 'add_header Strict-Transport-Security "max-age=31536000" always;' >"$out/transport-security.conf"
    port=${HTTPS_PORT:-443}
    [ "$port" = 443 ] && port= || port=:$port
    cat >"$out/servers.conf" <<END
server {
    listen 80;
    return 308 https://\$host$port\$request_uri;
}
END
elif [ -e "$certs/tls.crt" ] || [ -e "$certs/tls.key" ]; then
    fail "the certificate directory holds only one of tls.crt and tls.key. Add the other, or remove both to go without TLS."
else
    echo "TLS: off. Put tls.crt and tls.key into the certificate directory to turn it on."
    for each in web:80 api:8000 ml:8001; do
        echo "listen ${each#*:};" >"$out/listen-${each%:*}.conf"
    done
    : >"$out/transport-security.conf"
    printf 'server {\n    listen 443 ssl;\n    ssl_reject_handshake on;\n}\n' >"$out/servers.conf"
fi
