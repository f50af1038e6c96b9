// HTTP to Services inside the cluster, through the API server: no port of the cluster is opened.
import type { ClusterProxy, ServicePort } from "../core/check.ts";
import { type Cluster, text } from "../core/cluster.ts";
import { DeployError, messageOf, serviceError, unreachableError } from "../core/error.ts";
import { parsedJson } from "../core/object.ts";
import { takeWay } from "../kube/proxy.ts";

const PATIENCE = 60_000;

/** Opens the way. @throws {DeployError} exit 5 with kubectl's words when it does not start, 3 where it cannot. */
export async function openProxy(cluster: Cluster): Promise<ClusterProxy & AsyncDisposable> {
  const way = await takeWay(cluster).catch((error) => {
    throw error instanceof DeployError ? error : unreachable(cluster, error);
  });
  return {
    async fetch({ kind = "services", namespace, name, port }, path, init = {}) {
      const signal = init.signal ?? AbortSignal.timeout(PATIENCE);
      const place = `/api/v1/namespaces/${namespace}/${kind}/${name}:${port}`;
      try {
        const response = await way.fetch(`${place}/proxy${path}`, { ...init, signal });
        // Whole: the way may be left, and closed, before somebody reads it.
        const body = await response.bytes();
        return new Response(body.length > 0 ? body : null, response);
      } catch (error) {
        if (init.signal?.aborted) throw error;
        way.drop();
        throw unreachable(cluster, error);
      }
    },
    [Symbol.asyncDispose]: () => way[Symbol.asyncDispose](),
  };
}

function unreachable(cluster: Cluster, cause: unknown): DeployError {
  return unreachableError(`Cannot reach the Services of ${cluster.id} through its API server`, {
    where: messageOf(cause),
    fix: `kubectl --context ${text(cluster, "KUBE_CONTEXT")} get --raw /readyz`,
    cause,
  });
}

/** JSON that a Service answers. Throws exit 8 with status and text when it is an error or no JSON. */
export async function readJson<T>(
  proxy: ClusterProxy,
  service: ServicePort,
  path: string,
  init?: RequestInit,
): Promise<T> {
  const response = await proxy.fetch(service, path, init);
  const body = await response.text();
  // A page in place of an answer is as wrong as an error.
  const answer = response.ok ? parsedJson(body) : undefined;
  if (answer !== undefined) return answer;
  const { namespace, name } = service;
  throw serviceError(`Cannot read ${path} of ${name}`, {
    where: `${response.status} ${body.trim().slice(0, 300)}`,
    fix: `kubectl -n ${namespace} get pods,endpointslices -l kubernetes.io/service-name=${name}`,
  });
}
