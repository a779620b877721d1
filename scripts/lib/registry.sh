# Debian's registry on loopback, for as long as a script runs. Sourced after common.sh.
# shellcheck shell=bash

# Serves the storage directory $1 on a free port of loopback; sets registry and registry_pid.
start_registry() {
    local port
    for port in $(seq 5140 5159); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
        registry=127.0.0.1:$port
        mkdir -p "$1"
        REGISTRY_LOG_LEVEL=warn REGISTRY_LOG_ACCESSLOG_DISABLED=true \
            docker-registry serve /dev/stdin >"$1.log" 2>&1 <<-CONFIG &
			version: 0.1
			storage: {filesystem: {rootdirectory: $1}}
			http: {addr: "$registry"}
		CONFIG
        registry_pid=$!
        for _ in $(seq 100); do
            curl -fsS -o /dev/null "http://$registry/v2/" 2>/dev/null && return 0
            kill -0 "$registry_pid" 2>/dev/null || break
            sleep 0.1
        done
        stop_registry
    done
    say "image: no registry came up on 127.0.0.1:5140-5159; see $1.log"
    return 1
}

stop_registry() {
    [ -n "${registry_pid:-}" ] || return 0
    kill "$registry_pid" 2>/dev/null || true
    wait "$registry_pid" 2>/dev/null || true
    registry_pid=
}
