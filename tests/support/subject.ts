// What a check is asked about in a test: nothing but what the test gives.
import type { ClusterProxy, Subject } from "../../lib/core/check.ts";
import type { Cluster } from "../../lib/core/cluster.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { openSubject } from "../../lib/probe/check.ts";

/** A subject with these objects; its way in is `proxy`, or none. */
export function subjectWith(
  cluster: Cluster,
  { objects = [], proxy, when = "after" }: {
    objects?: Manifest[];
    proxy?: ClusterProxy;
    when?: Subject["when"];
  } = {},
): Subject {
  const noWay = new Error("no way in is needed");
  return {
    ...openSubject(cluster, { when, objects: () => objects }),
    proxy: () => proxy ? Promise.resolve(proxy) : Promise.reject(noWay),
  };
}
