// What a program inside the cluster answers over HTTP, as JSON or as a failure that names it.
import { DeployError, ExitCode } from "../core/error.ts";
import type { ClusterProxy, ServicePort } from "../core/check.ts";

/** JSON that a Service answers. Throws exit 8 with status and text when it is an error or no JSON. */
export async function readJson<T>(
  proxy: ClusterProxy,
  service: ServicePort,
  path: string,
  init?: RequestInit,
): Promise<T> {
  const response = await proxy.fetch(service, path, init);
  const body = await response.text();
  if (response.ok) {
    try {
      return JSON.parse(body);
    } catch {
      // A page in place of an answer is as wrong as an error.
    }
  }
  const { namespace, name } = service;
  throw new DeployError(`Cannot read ${path} of ${name}`, {
    exitCode: ExitCode.service,
    where: `${response.status} ${body.trim().slice(0, 300)}`,
    fix: `kubectl -n ${namespace} get pods,endpointslices -l kubernetes.io/service-name=${name}`,
  });
}
