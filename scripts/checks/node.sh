# Facts of a node, one name=value a line, for scripts/checks/node_facts.ts. Runs in BusyBox on the node
# with /host, its file system, read-only, and its processes in /proc. $1 is a path on the node.
# Changes nothing.
data=$1

echo "time=$(date +%s)"
echo "kernel=$(uname -r)"
# cat, as the kernel gives these files in one piece only, and the shell reads by the letter.
for name in vm/max_map_count fs/inotify/max_user_instances fs/inotify/max_user_watches; do
  echo "${name##*/}=$(cat "/proc/sys/$name")"
done
[ -e /host/sys/fs/cgroup/cgroup.controllers ] && echo cgroup=2 || echo cgroup=1
# ID=ubuntu, ID_LIKE="debian": both say which package manager there is.
grep -hE '^ID(_LIKE)?=' /host/etc/os-release | tr -d '"' | sed 's/^ID=/os=/; s/^ID_LIKE=/os_like=/'

# A process by its name, in the namespaces of the node (the pod has hostPID).
runs() { grep -qsx "$1" /proc/[0-9]*/comm; }
for name in iscsid multipathd; do runs "$name" && echo "$name=yes" || echo "$name=no"; done
# systemd may hold the socket and start iscsid at the first login.
grep -qs ISCSIADM_ABSTRACT_NAMESPACE /proc/1/net/unix && echo iscsi_socket=yes || echo iscsi_socket=no
for name in chronyd ntpd systemd-timesyn; do runs "$name" && echo "time_sync=$name"; done

# In the tables of the kernel 0A is a listening socket, and its port stands in hexadecimal.
listens=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | while read -r _ local _ state _; do
  [ "$state" = 0A ] && echo $((0x${local##*:}))
done | sort -un | tr '\n' ' ')
echo "listens=$listens"
if runs firewalld; then echo firewall=firewalld
elif grep -qsi '^ENABLED=yes' /host/etc/ufw/ufw.conf; then echo firewall=ufw
fi

# A domain that answers for a name which nobody has answers for every name that a pod asks for.
wildcards=
for domain in $(sed -n 's/^search//p' /etc/resolv.conf | tail -n 1); do
  [ "$domain" = . ] && continue
  if timeout 5 nslookup "no-such-host-$$.$domain" 2>/dev/null | grep -q '^Name:'; then
    wildcards="$wildcards $domain"
  fi
done
echo "wildcards=$wildcards"

iscsiadm=no
for folder in sbin bin usr/sbin usr/bin usr/local/sbin usr/local/bin; do
  [ -x "/host/$folder/iscsiadm" ] && iscsiadm=yes
done
echo "iscsiadm=$iscsiadm"

modules="/lib/modules/$(uname -r)"
if [ -d /sys/module/iscsi_tcp ]; then echo iscsi_tcp=loaded
elif cat "/host$modules/modules.dep" "/host$modules/modules.builtin" 2>/dev/null |
  grep -q '/iscsi_tcp\.ko'; then echo iscsi_tcp=available
else echo iscsi_tcp=missing
fi

# Fifth field: the mount point; from the seventh on, "shared:N" when mounts spread from it.
shared=yes
while read -r _ _ _ _ point _ tags; do
  case $point in / | /var | /var/lib | /var/lib/kubelet) ;; *) continue ;; esac
  case $tags in *shared:*\ -\ *) ;; *) shared=no ;; esac
done </proc/1/mountinfo
echo "mounts_shared=$shared"

# The disk of a path on the node; a folder that is not made yet is on that of the nearest above it.
disk() {
  path=$2
  [ -L "/host$path" ] && path=$(readlink "/host$path")
  while [ ! -d "/host$path" ] && [ "$path" != / ] && [ -n "$path" ]; do path=$(dirname "$path"); done
  df -Pk "/host$path" | tail -n 1 | {
    read -r _ total _ free _
    echo "$1_kib=$total"
    echo "$1_free_kib=$free"
  }
}
disk disk "$data"
if runs dockerd; then
  images=$(sed -n 's/.*"data-root"[^"]*"\([^"]*\)".*/\1/p' /host/etc/docker/daemon.json 2>/dev/null)
  images=${images:-/var/lib/docker}
else
  images=$(sed -n "s/^root *= *[\"']\(.*\)[\"'].*/\1/p" /host/etc/containerd/config.toml 2>/dev/null)
  images=${images:-/var/lib/containerd}
fi
echo "images_path=$images"
disk images "$images"
echo "end=yes"
