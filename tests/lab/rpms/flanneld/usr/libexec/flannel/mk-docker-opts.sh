#!/bin/sh
# Writes dockerd's options for the subnet that flanneld has: mk-docker-opts.sh -k VARIABLE -d FILE
set -eu
variable=DOCKER_OPTS file=/run/docker_opts.env
while getopts k:d: option; do
  case $option in
  k) variable=$OPTARG;;
  d) file=$OPTARG;;
  *) exit 2;;
  esac
done
. /run/flannel/subnet.env
# Only one of the two masquerades.
if [ "$FLANNEL_IPMASQ" = true ]; then masquerade=false; else masquerade=true; fi
mkdir -p "${file%/*}"
cat >"$file" <<END
DOCKER_OPT_BIP="--bip=$FLANNEL_SUBNET"
DOCKER_OPT_IPMASQ="--ip-masq=$masquerade"
DOCKER_OPT_MTU="--mtu=$FLANNEL_MTU"
$variable=" --bip=$FLANNEL_SUBNET --ip-masq=$masquerade --mtu=$FLANNEL_MTU"
END
