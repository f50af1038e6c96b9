// The level "restricted" of the Pod Security Standards, and the pods that an object leads to.
import type { Manifest } from "../../lib/core/object.ts";

// deno-lint-ignore no-explicit-any
type Fields = any;

const SAFE_VOLUMES = ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"]
  .concat("persistentVolumeClaim", "projected", "secret");

const SAFE_SYSCTLS = ["kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range"]
  .concat(
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
  )
  .concat("net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time")
  .concat(
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
  );

/** Everything that the level refuses of a pod, each as `what` or `container: what`. */
export function restrictedBreaches(spec: Fields): string[] {
  const pod = spec.securityContext ?? {};
  const unsafe = (spec.volumes ?? []).flatMap((volume: Fields) =>
    Object.keys(volume).filter((kind) => kind !== "name" && !SAFE_VOLUMES.includes(kind))
  );
  const sysctls = (pod.sysctls ?? []).filter(({ name }: Fields) => !SAFE_SYSCTLS.includes(name));
  return [
    ...["hostNetwork", "hostPID", "hostIPC"].filter((name) => spec[name]),
    ...new Set<string>(unsafe.map((kind: string) => `volume ${kind}`)),
    ...sysctls.map(({ name }: Fields) => `sysctl ${name}`),
    ...contextBreaches(pod),
    ...containersOf(spec).flatMap((container) =>
      containerBreaches(container, pod).map((breach) => `${container.name}: ${breach}`)
    ),
  ];
}

/** Containers of every sort. */
export function containersOf(spec: Fields): Fields[] {
  return [
    ...spec.initContainers ?? [],
    ...spec.containers ?? [],
    ...spec.ephemeralContainers ?? [],
  ];
}

/** What neither a pod nor a container may say. */
function contextBreaches(context: Fields): string[] {
  const { seccompProfile, seLinuxOptions = {}, appArmorProfile, windowsOptions } = context;
  return [
    ...(context.runAsUser === 0 ? ["runAsUser 0"] : []),
    ...(context.runAsNonRoot === false ? ["runAsNonRoot is false"] : []),
    ...(seccompProfile?.type === "Unconfined" ? ["seccomp Unconfined"] : []),
    ...(appArmorProfile?.type === "Unconfined" ? ["AppArmor Unconfined"] : []),
    ...(windowsOptions?.hostProcess ? ["hostProcess"] : []),
    ...(seLinuxOptions.user || seLinuxOptions.role ? ["SELinux user or role"] : []),
    ...(/^(container(_init|_kvm|_engine)?_t)?$/.test(seLinuxOptions.type ?? "")
      ? []
      : ["SELinux type"]),
  ];
}

function containerBreaches(container: Fields, pod: Fields): string[] {
  const own = container.securityContext ?? {};
  const { add = [], drop = [] } = own.capabilities ?? {};
  const handlers = [container.livenessProbe, container.readinessProbe, container.startupProbe]
    .concat(container.lifecycle?.postStart, container.lifecycle?.preStop);
  return [
    ...contextBreaches(own),
    ...((own.runAsNonRoot ?? pod.runAsNonRoot) === undefined ? ["runAsNonRoot is not said"] : []),
    ...(own.seccompProfile ?? pod.seccompProfile ? [] : ["no seccomp profile"]),
    ...(own.allowPrivilegeEscalation === false ? [] : ["allows privilege escalation"]),
    ...(drop.includes("ALL") ? [] : ["keeps capabilities"]),
    ...add.filter((name: string) => name !== "NET_BIND_SERVICE")
      .map((name: string) => `adds ${name}`),
    ...(own.privileged ? ["privileged"] : []),
    ...((own.procMount ?? "Default") === "Default" ? [] : ["procMount"]),
    ...(container.ports ?? []).filter(({ hostPort }: Fields) => hostPort)
      .map(({ hostPort }: Fields) => `hostPort ${hostPort}`),
    ...handlers.some((one) => one?.httpGet?.host || one?.tcpSocket?.host)
      ? ["probes another host"]
      : [],
  ];
}

/** The pod that an object of Kubernetes' own kinds describes; undefined when it describes none. */
export function templateOf({ kind, spec }: Manifest): Fields | undefined {
  if (/^(Deployment|StatefulSet|DaemonSet|ReplicaSet|Job)$/.test(kind)) return spec.template.spec;
  if (kind === "CronJob") return spec.jobTemplate.spec.template.spec;
  return kind === "Pod" ? spec : undefined;
}

/** The same, also of what the Prometheus operator makes of its resources. */
export function podOf(object: Manifest): Fields | undefined {
  const { kind, spec } = object;
  if (!(kind in OPERATED)) return templateOf(object);
  const [main, ...beside] = OPERATED[kind]!;
  const sidecar = spec.thanos ? ["thanos-sidecar"] : [];
  return {
    ...spec,
    containers: merged([main!, ...beside, ...sidecar], spec.containers),
    initContainers: merged(["init-config-reloader"], spec.initContainers),
  };
}

/** Containers that the operator makes of its resources (seen in StatefulSets of 0.93). */
const OPERATED: Record<string, string[]> = {
  Prometheus: ["prometheus", "config-reloader"],
  PrometheusAgent: ["prometheus", "config-reloader"],
  Alertmanager: ["alertmanager", "config-reloader"],
  ThanosRuler: ["thanos-ruler", "config-reloader"],
};

const OPERATED_CONTEXT = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ["ALL"] },
};

/** The operator's own containers with what the resource says of them by name, and those that it adds. */
function merged(names: string[], patches: Fields[] = []): Fields[] {
  const added = patches.filter(({ name }) => !names.includes(name));
  const own = names.map((name) => {
    const patch = patches.find((one) => one.name === name);
    const securityContext = { ...OPERATED_CONTEXT, ...patch?.securityContext };
    securityContext.capabilities = {
      ...OPERATED_CONTEXT.capabilities,
      ...patch?.securityContext?.capabilities,
    };
    return { name, ...patch, securityContext };
  });
  return [...own, ...added];
}
