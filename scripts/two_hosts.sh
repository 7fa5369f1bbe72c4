#!/usr/bin/env bash
# Runs `mpiexec -n 3 minillm batch` over two hosts: network namespaces of this machine, with an address each. Only root
# may make them. The answers must be those of one process, to the byte, and must have come over the network.
#
#   this machine 10.213.7.1 (mpiexec)    host a 10.213.7.2 (ranks 0 and 2)    host b 10.213.7.3 (rank 1)
#
# A link of their own joins a and b, so that what ranks send to each other is counted without what mpiexec sends them.
#
# Ends with 0 if all is well, with 77 if namespaces are not allowed here, else with 1.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
mpiexec=$(dirname "$python")/mpiexec
work=$(mktemp -d)
id=$$ # so that two runs do not meet
cleanup() {
    for host in a b; do ip netns del "minillm-$id-$host" 2> /dev/null || true; done
    ip link del "mll-$id" 2> /dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
if ! { ip netns add "minillm-$id-a" && ip netns add "minillm-$id-b" && ip link add "mll-$id" type bridge; } 2> /dev/null; then
    echo "network namespaces are not allowed here"
    exit 77
fi
ip addr add 10.213.7.1/24 dev "mll-$id"
ip link set "mll-$id" up
number=2
for host in a b; do
    ip link add "mll-$id-$host" type veth peer name eth0 netns "minillm-$id-$host"
    ip link set "mll-$id-$host" master "mll-$id" up
    ip -n "minillm-$id-$host" addr add "10.213.7.$number/24" dev eth0
    ip -n "minillm-$id-$host" link set eth0 up
    ip -n "minillm-$id-$host" link set lo up
    number=$((number + 1))
done
ip link add direct netns "minillm-$id-a" type veth peer name direct netns "minillm-$id-b"
ip -n "minillm-$id-a" link set direct up
ip -n "minillm-$id-b" link set direct up
ip -n "minillm-$id-a" route add 10.213.7.3 dev direct src 10.213.7.2
ip -n "minillm-$id-b" route add 10.213.7.2 dev direct src 10.213.7.3

# What mpiexec calls instead of ssh: `launch [-x] HOST COMMAND`.
cat > "$work/launch" << LAUNCH
#!/bin/sh
while [ "\${1#-}" != "\$1" ]; do shift; done
case \$1 in 10.213.7.2) host=a ;; *) host=b ;; esac
shift
exec ip netns exec minillm-$id-\$host sh -c "\$*"
LAUNCH
chmod +x "$work/launch"
for n in 5 9 2 7 3 8; do echo "{\"prompt\": \"Once upon a time\", \"max_new_tokens\": $n}"; done > "$work/prompts.jsonl"

"$python" -m minillm batch "$work/prompts.jsonl" --backend exact --out "$work/one.jsonl"
# The namespaces share the machine's memory, which MPI would use by default. libfabric's TCP uses the network.
MPIR_CVAR_CH4_NETMOD=ofi FI_PROVIDER=tcp "$mpiexec" -launcher ssh -launcher-exec "$work/launch" -localhost 10.213.7.1 -hosts 10.213.7.2,10.213.7.3 -n 3 \
    "$python" -m minillm batch "$work/prompts.jsonl" --backend exact --out "$work/many.jsonl"
cmp "$work/one.jsonl" "$work/many.jsonl"
for way in rx tx; do
    bytes=$(ip netns exec "minillm-$id-b" cat /sys/class/net/direct/statistics/${way}_bytes)
    echo "between a and b: $way of b $bytes bytes"
    test "$bytes" -gt 5000
done
