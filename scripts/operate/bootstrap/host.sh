set -euo pipefail

# What follows reads nothing from its input: that is this script.
main() {
  preconditions
  packages
  kernel
  swap_off
  clock
  if [ "$LONGHORN" = true ]; then longhorn_host; fi
  runtime
  install_minikube
  cluster
  addons
  kubeconfig
  hints
}

say() { printf '== %s\n' "$*"; }
give_up() { printf 'cannot go on: %s\n' "$*" >&2; exit 1; }

# Writes a file unless it says so already: put PATH TEXT
put() {
  if [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; then return; fi
  mkdir -p "$(dirname "$1")"
  printf '%s\n' "$2" >"$1"
  say "wrote $1"
}

preconditions() {
  [ "$(id -u)" = 0 ] || give_up "run it as root"
  command -v systemctl >/dev/null || give_up "no systemd here"
  # Minikube takes the address of the default route; with several networks that may be another one.
  ip -4 -o address show | grep -q " $NODE_IP/" ||
    give_up "NODE_IP $NODE_IP is no address of this host: $(ip -4 -o address show | tr '\n' ' ')"
  if ! ip -4 route get 192.0.2.1 2>/dev/null | grep -q "src $NODE_IP"; then
    say "warning: the default route does not leave from $NODE_IP, but Minikube takes its address"
  fi
}

# conntrack and crictl are what the driver none looks for, the rest is kubeadm's and the kubelet's.
packages() {
  if command -v apt-get >/dev/null; then
    local wanted=(ca-certificates curl conntrack socat ethtool iptables containerd)
    if [ "$LONGHORN" = true ]; then wanted+=(open-iscsi nfs-common); fi
    local missing=()
    for name in "${wanted[@]}"; do dpkg -s "$name" >/dev/null 2>&1 || missing+=("$name"); done
    if [ "${#missing[@]}" -gt 0 ]; then
      say "installing ${missing[*]}"
      apt-get update -q
      DEBIAN_FRONTEND=noninteractive apt-get install -y -q "${missing[@]}"
    fi
    kubernetes_tools apt
  elif command -v dnf >/dev/null; then
    local wanted=(curl conntrack-tools socat ethtool iptables-nft)
    command -v containerd >/dev/null || wanted+=(containerd)
    if [ "$LONGHORN" = true ]; then wanted+=(iscsi-initiator-utils nfs-utils); fi
    local missing=()
    for name in "${wanted[@]}"; do rpm -q "$name" >/dev/null 2>&1 || missing+=("$name"); done
    if [ "${#missing[@]}" -gt 0 ]; then
      say "installing ${missing[*]}"
      dnf install -y -q "${missing[@]}" ||
        give_up "containerd may need Docker's repository (package containerd.io)"
    fi
    kubernetes_tools dnf
  else
    give_up "neither apt-get nor dnf here"
  fi
}

# crictl and the CNI plugins in /opt/cni/bin, from the repository of this Kubernetes.
kubernetes_tools() {
  if command -v crictl >/dev/null && [ -x /opt/cni/bin/bridge ]; then return; fi
  local base="https://pkgs.k8s.io/core:/stable:/${KUBERNETES_VERSION%.*}"
  say "installing crictl and the CNI plugins from $base"
  if [ "$1" = apt ]; then
    mkdir -p /etc/apt/keyrings
    curl -fsSL "$base/deb/Release.key" -o /etc/apt/keyrings/kubernetes.asc
    put /etc/apt/sources.list.d/kubernetes.list \
      "deb [signed-by=/etc/apt/keyrings/kubernetes.asc] $base/deb/ /"
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q cri-tools kubernetes-cni
  else
    put /etc/yum.repos.d/kubernetes.repo "[kubernetes]
name=Kubernetes
baseurl=$base/rpm/
enabled=1
gpgcheck=1
gpgkey=$base/rpm/repodata/repomd.xml.key"
    dnf install -y -q cri-tools kubernetes-cni
  fi
}

kernel() {
  local modules="overlay
br_netfilter"
  # iscsid needs it before it starts.
  if [ "$LONGHORN" = true ]; then
    modules="$modules
iscsi_tcp"
  fi
  put /etc/modules-load.d/kubernetes.conf "$modules"
  for name in $modules; do modprobe "$name" || give_up "the kernel has no module $name"; done
  put /etc/sysctl.d/90-kubernetes.conf "net.ipv4.ip_forward = 1
net.bridge.bridge-nf-call-iptables = 1
vm.max_map_count = 262144
fs.inotify.max_user_instances = 8192
fs.inotify.max_user_watches = 524288"
  sysctl -q -p /etc/sysctl.d/90-kubernetes.conf
}

# The kubelet refuses to start with swap.
swap_off() {
  if [ "$(wc -l </proc/swaps)" -le 1 ]; then return; fi
  say "turning swap off, also in /etc/fstab (the old one: /etc/fstab.before-kubernetes)"
  swapoff -a
  sed -i.before-kubernetes -E '/^[^#].*[[:space:]]swap[[:space:]]/s/^/# /' /etc/fstab
}

# S3 refuses requests from clocks that are 15 minutes off, and samples of the future are lost.
clock() {
  if [ "$(timedatectl show -p NTP --value)" = yes ]; then return; fi
  say "installing chrony: nothing keeps the clock right"
  if command -v apt-get >/dev/null; then
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q chrony
  else
    dnf install -y -q chrony
  fi
  systemctl enable --now chronyd 2>/dev/null || systemctl enable --now chrony
}

longhorn_host() {
  systemctl enable --now iscsid
  if ! command -v multipathd >/dev/null; then return; fi
  if [ -n "$(multipath -ll 2>/dev/null)" ]; then
    say "warning: multipath serves disks of this host; let it ignore Longhorn's /dev/sd* yourself"
    return
  fi
  if [ -f /etc/multipath/conf.d/longhorn.conf ]; then return; fi
  put /etc/multipath/conf.d/longhorn.conf 'blacklist {
    devnode "^sd[a-z0-9]+"
}'
  systemctl try-restart multipathd
}

runtime() {
  # Some packages ship a configuration without the plugin for Kubernetes.
  if [ ! -s /etc/containerd/config.toml ] ||
    grep -Eq '^disabled_plugins.*"cri"' /etc/containerd/config.toml; then
    mkdir -p /etc/containerd
    containerd config default >/etc/containerd/config.toml
    systemctl restart containerd
    say "wrote /etc/containerd/config.toml"
  fi
  systemctl enable --now containerd
}

install_minikube() {
  if command -v minikube >/dev/null; then return; fi
  local arch=amd64
  case "$(uname -m)" in aarch64 | arm64) arch=arm64 ;; esac
  local url="https://storage.googleapis.com/minikube/releases/$MINIKUBE_VERSION/minikube-linux-$arch"
  say "installing minikube $MINIKUBE_VERSION"
  curl -fsSL "$url" -o /usr/local/bin/minikube.new
  local sum
  sum=$(curl -fsSL "$url.sha256")
  echo "$sum  /usr/local/bin/minikube.new" | sha256sum -c --quiet - || give_up "a damaged minikube"
  chmod 755 /usr/local/bin/minikube.new
  mv /usr/local/bin/minikube.new /usr/local/bin/minikube
}

cluster() {
  if minikube status >/dev/null 2>&1; then
    say "Kubernetes runs already, with the flags it was started with"
  else
    # A start that finds a cluster in bad health makes a new one (minikube#16783).
    if [ -d /var/lib/minikube/etcd/member ]; then
      local copy
      copy="/var/backups/minikube-etcd-$(date +%Y%m%d-%H%M%S).tar.gz"
      mkdir -p /var/backups
      tar -czf "$copy" -C /var/lib/minikube etcd
      say "copied etcd to $copy"
    fi
    local flags=(--driver=none --container-runtime=containerd)
    flags+=("--kubernetes-version=$KUBERNETES_VERSION")
    flags+=("--apiserver-ips=$NODE_IP" "--apiserver-name=$API_NAME")
    flags+=(--embed-certs --wait=all --wait-timeout=15m)
    if [ "$CONTROL_PLANE_METRICS" = true ]; then
      flags+=(--extra-config=scheduler.bind-address=0.0.0.0)
      flags+=(--extra-config=controller-manager.bind-address=0.0.0.0)
      flags+=(--extra-config=etcd.listen-metrics-urls=http://0.0.0.0:2381)
    fi
    say "minikube start ${flags[*]}"
    minikube start "${flags[@]}"
  fi
  # The control plane comes back after a reboot without minikube.
  systemctl enable kubelet
}

# Minikube makes its own class the default one at every start, unless the addon is off.
addons() {
  if [ "$STORAGE_CLASS" = standard ]; then return; fi
  minikube addons disable default-storageclass
  if [ "$LONGHORN" = true ]; then minikube addons disable storage-provisioner; fi
}

# Minikube calls every cluster, user and context "minikube"; here they have the name of the context.
kubeconfig() {
  local kubectl="/var/lib/minikube/binaries/$KUBERNETES_VERSION/kubectl"
  local keys="$HOME/.minikube/profiles/minikube" file="/etc/kubernetes/$KUBE_CONTEXT.kubeconfig"
  if [ ! -x "$kubectl" ]; then
    give_up "another Kubernetes than $KUBERNETES_VERSION runs here: correct KUBERNETES_VERSION"
  fi
  umask 077
  rm -f "$file.new"
  export KUBECONFIG="$file.new"
  "$kubectl" config set-cluster "$KUBE_CONTEXT" "--server=https://$API_HOST:8443" \
    --certificate-authority=/var/lib/minikube/certs/ca.crt --embed-certs >/dev/null
  "$kubectl" config set-credentials "$KUBE_CONTEXT" --client-certificate="$keys/client.crt" \
    --client-key="$keys/client.key" --embed-certs >/dev/null
  "$kubectl" config set-context "$KUBE_CONTEXT" --cluster="$KUBE_CONTEXT" --user="$KUBE_CONTEXT" \
    >/dev/null
  "$kubectl" config use-context "$KUBE_CONTEXT" >/dev/null
  mv "$file.new" "$file"
  say "the kubeconfig is $file"
}

hints() {
  say "after a reboot: look with minikube status before minikube start, which makes a new cluster of"
  say "one in bad health. This script copies etcd first; so does"
  say "  tar -czf etcd.tar.gz -C /var/lib/minikube etcd"
  say "ports 8443 (API) and 10250 (kubelet) listen on every address: close them to strangers"
}

main </dev/null
