// What a check is asked about in a test: nothing but what the test gives.
import {
  type Check,
  type ClusterProxy,
  type Finding,
  findingsOf,
  type Subject,
} from "../../lib/core/check.ts";
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
  const noWay = { fetch: () => Promise.reject(new Error("no way in is needed")) };
  return {
    ...openSubject(cluster, { when, objects: () => objects }),
    proxy: proxy ?? noWay,
  };
}

/** A way to programs with these answers, by the beginning of a path; what was asked is in `asked`. */
export function answering(answers: Record<string, unknown>, asked: string[] = []): ClusterProxy {
  return {
    fetch(_, path) {
      asked.push(path);
      const found = Object.keys(answers).find((start) => path.startsWith(start));
      const answer = found ? answers[found] : new Response("", { status: 400 });
      return Promise.resolve(answer instanceof Response ? answer.clone() : Response.json(answer));
    },
  };
}

/** What a check finds where programs answer so. */
export async function found(
  run: Check["run"],
  cluster: Cluster,
  answers: Record<string, unknown> = {},
  objects: Manifest[] = [],
): Promise<Finding[]> {
  return findingsOf(await run(subjectWith(cluster, { objects, proxy: answering(answers) })));
}
