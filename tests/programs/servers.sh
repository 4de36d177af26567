#!/bin/bash
# SPDX-License-Identifier: MIT
# nginx with two workers, and ab, which asks for small and large and compressed pages; a reload on the way.
# @all
# @limit 120
"$(dirname "$0")/../deps.sh" servers || exit 77
. "$(dirname "$0")/compare.inc"
PATH=$PATH:/usr/sbin
place=127.81.3.9:18080

ask() {
    # What depends on time is not told.
    quietly ab -q -n 3000 -c 16 "$@" | grep -E '^(Document|Complete|Failed|Non-2xx|Total transferred|HTML)'
}

nginx_job() {
    local pid
    mkdir pages logs
    seq 1 200 >pages/small.txt
    seq 1 60000 >pages/large.txt
    cat >nginx.conf <<END
daemon off;
worker_processes 2;
pid nginx.pid;
error_log logs/error.log;
events { worker_connections 256; }
http {
    access_log logs/access.log;
    client_body_temp_path logs/a; proxy_temp_path logs/b; fastcgi_temp_path logs/c; uwsgi_temp_path logs/d; scgi_temp_path logs/e;
    gzip on; gzip_http_version 1.0; gzip_types text/plain; gzip_min_length 100;
    default_type text/plain;
    server { listen $place; root pages; keepalive_requests 100; location /again/ { proxy_pass http://$place/; } }
}
END
    chmod -R a+rwX .
    quietly nginx -p "$PWD" -e logs/error.log -c "$PWD/nginx.conf" &
    pid=$!
    wait_until curl -sf "http://$place/small.txt" || cat logs/error.log
    ask "http://$place/small.txt"
    ask -k -n 300 "http://$place/large.txt"
    ask -H 'Accept-Encoding: gzip' -n 200 "http://$place/large.txt"
    kill -HUP "$(cat nginx.pid)"
    ask -n 300 "http://$place/again/large.txt"
    curl -s --compressed "http://$place/again/large.txt" | sha256sum
    kill -QUIT "$(cat nginx.pid)"
    wait $pid
    echo "server: $?"
    awk '{print $9}' logs/access.log | sort | uniq -c
    rm -rf logs nginx.pid
}

compare nginx nginx_job
compare_end
