#!/usr/bin/env bash
# One-node Ceph with its S3 server, as process 1 of its own PID namespace inside the root that
# root.sh made: when this script ends, the kernel ends all its daemons.
#
#   ceph.sh S3_PORT MONITOR_PORT READY_FILE
#
# The object store lives in memory, one copy of each object, 2 GiB at most. Nothing of it stays.
set -euo pipefail
s3=$1 monitor=$2 ready=$3
state=/srv/ceph
admin=/etc/ceph/ceph.client.admin.keyring
rm -rf $state /etc/ceph/*
mkdir -p $state/{mon,mgr,osd,rgw} /etc/ceph /var/run/ceph

cat >/etc/ceph/ceph.conf <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = [v1:127.0.0.1:$monitor]
public addr = 127.0.0.1
ms bind ipv4 = true
run dir = /var/run/ceph
log file = $state/\$name.log
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd objectstore = memstore
memstore device bytes = 2147483648
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
rgw enable apis = s3, sts, iam, admin
rgw s3 auth use sts = true
rgw sts key = 0123456789abcdef
[mon.a]
mon data = $state/mon
[mgr.x]
mgr data = $state/mgr
[osd.0]
osd data = $state/osd
[client.rgw.a]
rgw data = $state/rgw
rgw frontends = beast endpoint=127.0.0.1:$s3
CONF

keyring() { ceph-authtool --create-keyring "$@" >/dev/null; }
keyring $state/mon.key --gen-key -n mon. --cap mon 'allow *'
keyring $admin --gen-key -n client.admin \
  --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *' --cap mds 'allow *'
ceph-authtool $state/mon.key --import-keyring $admin >/dev/null
monmaptool --create --addv a "[v1:127.0.0.1:$monitor]" $state/monmap \
  --fsid "$(awk '/^fsid/ { print $3 }' /etc/ceph/ceph.conf)" >/dev/null
ceph-mon --mkfs -i a --monmap $state/monmap --keyring $state/mon.key
ceph-mon -i a
ceph config set mon auth_allow_insecure_global_id_reclaim false
ceph auth get-or-create mgr.x mon 'allow profile mgr' osd 'allow *' mds 'allow *' >$state/mgr/keyring
ceph-mgr -i x

osd=$(cat /proc/sys/kernel/random/uuid)
secret=$(ceph-authtool --gen-print-key)
ceph osd new "$osd" -i - <<<"{\"cephx_secret\": \"$secret\"}" >/dev/null
keyring $state/osd/keyring --name osd.0 --add-key "$secret"
ceph-osd -i 0 --mkfs --osd-uuid "$osd"
ceph-osd -i 0
ceph auth get-or-create client.rgw.a mon 'allow rw' osd 'allow rwx' >$state/rgw/keyring
radosgw -n client.rgw.a -k $state/rgw/keyring
for _ in $(seq 240); do
  (exec 3<>"/dev/tcp/127.0.0.1/$s3") 2>/dev/null && break
  sleep 0.5
done

user() { radosgw-admin user create "$@" >/dev/null; }
# The admin makes roles; the launcher stands for the laptop, which may assume them.
user --uid=admin --display-name=admin --access-key=mimir-test-admin \
  --secret-key=mimir-test-admin-secret --caps='roles=*;user-policy=*;users=*'
user --uid=launcher --display-name=launcher --access-key=mimir-test-launcher \
  --secret-key=mimir-test-launcher-secret
touch "$ready"
trap 'exit 0' TERM INT
while :; do sleep 3600 & wait $! || true; done
