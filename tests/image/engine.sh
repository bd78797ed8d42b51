#!/usr/bin/env bash
# usage: engine.sh up FOLDER | down FOLDER
#
# A Docker engine of one's own from Debian's packages, for a CI machine that has none: root,
# Debian 12. `up` prints the DOCKER_HOST to use. Data, socket, bridge and network are its own,
# so that it lives beside another engine; `down` leaves neither process, mount nor bridge.
set -euo pipefail
action=${1:?up or down}
state=$(realpath -m "${2:?a folder for the state}")
# Of this folder alone, so that two of these engines do not share a bridge: 0 to 199.
number=$(( $(printf %s "$state" | cksum | cut -d' ' -f1) % 200 ))
bridge=mimir-ci$number
network=172.29.$number.1/24

up() {
  mkdir -p "$state"/apt/{lists/partial,parts}
  export DEBIAN_FRONTEND=noninteractive
  if ! command -v dockerd >/dev/null || ! docker buildx version >/dev/null 2>&1; then
    # Debian 12's own engine (20.10) has a builder that cannot read heredocs; the next release's
    # runs on this one. Its lists stay in our folder, so that the machine's apt is as it was.
    sources=/etc/apt/sources.list.d/debian.sources
    cp "$sources" "$state/apt/parts/"
    uri=$(awk '/^URIs:/{print $2; exit}' "$sources")
    cat > "$state/apt/parts/next.sources" <<S
Types: deb
URIs: $uri
Suites: trixie
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
S
    cat > "$state/apt/preferences" <<S
Package: *
Pin: release n=trixie
Pin-Priority: -10

Package: docker.io docker-cli docker-buildx
Pin: release n=trixie
Pin-Priority: 990
S
    cat > "$state/apt/apt.conf" <<S
Dir::Etc::sourceparts "$state/apt/parts";
Dir::Etc::preferences "$state/apt/preferences";
Dir::State::Lists "$state/apt/lists";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
S
    # The package would start an engine of its own, with the machine's default folders.
    printf '#!/bin/sh\nexit 101\n' > "$state/policy"; chmod +x "$state/policy"
    policy=/usr/sbin/policy-rc.d
    [ -e $policy ] || { cp "$state/policy" $policy; trap 'rm -f /usr/sbin/policy-rc.d' EXIT; }
    APT_CONFIG=$state/apt/apt.conf apt-get -qq update
    APT_CONFIG=$state/apt/apt.conf apt-get -qq install -y --no-install-recommends \
      docker.io docker-cli docker-buildx runc iptables mmdebstrap zstd </dev/null >"$state/apt.log" 2>&1
  fi
  ip link show $bridge >/dev/null 2>&1 || ip link add $bridge type bridge
  ip address replace $network dev $bridge
  ip link set $bridge up
  iptables -S FORWARD | head -1 > "$state/forward"
  setsid dockerd --data-root "$state/data" --exec-root "$state/exec" --pidfile "$state/pid" \
    --bridge $bridge -H "unix://$state/docker.sock" </dev/null >"$state/dockerd.log" 2>&1 &
  for _ in $(seq 150); do
    docker -H "unix://$state/docker.sock" version >/dev/null 2>&1 && break
    sleep 0.2
  done
  docker -H "unix://$state/docker.sock" version >/dev/null
  echo "unix://$state/docker.sock"
}

down() {
  if [ -e "$state/pid" ]; then
    pid=$(cat "$state/pid")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.2; done
  fi
  umount "$state/exec/netns/default" 2>/dev/null || true
  ip link delete $bridge 2>/dev/null || true
  # The engine leaves its rules behind, which name the bridge.
  for table in filter nat; do
    iptables -t $table -S 2>/dev/null | grep -- " $bridge " | sed 's/^-A/-D/' | while read -r rule; do
      # shellcheck disable=SC2086  # the rule is several words
      iptables -t $table $rule || true
    done || true
  done
  # The engine sets the policy of FORWARD to DROP; another engine on this machine wants it so.
  if [ -e "$state/forward" ] && ! pgrep -x dockerd >/dev/null; then
    read -r _ _ policy < "$state/forward" && iptables -P FORWARD "$policy" || true
  fi
  rm -rf "$state"
}

"$action"
