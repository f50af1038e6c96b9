# Like a kubelet, for the one program of a Deployment: starts it when its pod is, and again when it ends. It looks for
# its definitions and rights at its start only; the pod comes after them.
# Words: kubectl, the Deployment's name and namespace, two words that lead kubectl to the cluster, the program's own.
kubectl=$1 name=$2 namespace=$3 kubeconfig=$4 context=$5
shift 5
target() {
  "$kubectl" "$kubeconfig" "$context" -n "$namespace" wait "deployment/$name" "$@"
}
while :; do
  target --for=create --timeout=24h && target --for=condition=Available --timeout=24h && "$@"
  sleep 1
done
