// What make bench deploys to each of our clusters: as many definitions and other objects (251) as the figures
// of other tools were measured with, made of what this project deploys there and of plain ones.
import process from "node:process";
import { loadFleet } from "../../lib/config/cluster.ts";
import type { Cluster } from "../../lib/core/cluster.ts";
import { configMap, isDefinition, type Manifest } from "../../lib/core/object.ts";
import { desiredOf, type Step, step } from "../../lib/deploy/step.ts";
import { STEPS } from "../../scripts/steps.ts";

/** Definitions among the objects, and all others. */
const SIZE = { definitions: 35, others: 216 };

/** Where the bench keeps its API servers, below the project. */
export const FOLDER = ".bench";

/** The env files (of `root`) and more settings, as they are for the servers of the bench; their S3 is never asked. */
export async function benchFleet(
  root?: string,
  settings: Record<string, string> = {},
): Promise<Cluster[]> {
  const fleet = await loadFleet({
    root,
    environment: {
      KUBECONFIG_FILE: process.env.BENCH_KUBECONFIG || `${FOLDER}/kubeconfig`,
      SECRET_FILE: `${FOLDER}/no-secrets.env`,
      S3_ACCESS_KEY: "bench-access",
      S3_SECRET_KEY: "bench-secret",
      S3_CA_FILE: "",
      UI_BASIC_AUTH: "admin:{SHA}o3cOkwHD7Gf2y1wTOReNwr96zYY=",
      SIMULATED_NODES: "true",
      ALLOW_MISSING_BUNDLES: "true",
      ...settings,
    },
  });
  return fleet.map((cluster) => ({ ...cluster, vars: { ...cluster.vars, API_HOST: "127.0.0.1" } }));
}

/** The objects; `revision` is a value of one of them. Workloads have no pods, so nothing else is busy. */
export async function corpus(cluster: Cluster, revision = "1"): Promise<Manifest[]> {
  const real = await desiredOf(STEPS, cluster);
  const definitions = real.filter(isDefinition).slice(0, SIZE.definitions);
  const others = real.filter((object) => !isDefinition(object)).slice(0, SIZE.others - 1);
  const namespace = others.find(({ kind }) => kind === "Namespace")!.metadata.name;
  while (definitions.length < SIZE.definitions) definitions.push(definition(definitions.length));
  while (others.length < SIZE.others - 1) others.push(plain(namespace, others.length));
  const changing = configMap("bench-revision", namespace, { revision });
  return [...definitions, ...others, changing].map(idle);
}

/** Everything of our own for a cluster; the bundles are the same for all of them. */
export async function ownOf(cluster: Cluster): Promise<Manifest[]> {
  return (await Promise.all(STEPS.map(({ objects }) => objects(cluster)))).flat();
}

/** A step that deploys the corpus. */
export function benchStep(revision?: string): Step {
  return stepOf((cluster) => corpus(cluster, revision));
}

/** A step that renders everything of our own for a cluster, and then deploys these objects (JSON) to each. */
export function sameStep(objects: string): Step {
  const bundles: Manifest[] = JSON.parse(objects).filter(isDefinition);
  return stepOf(async (cluster) => {
    await ownOf(cluster);
    const others = JSON.parse(objects).filter((object: Manifest) => !isDefinition(object));
    return [...bundles, ...others];
  });
}

/** A step that deploys a few small objects; `revision` is a value of one, and `ended` is told of its end. */
export function smallStep(revision: string, ended: (cluster: Cluster) => void): Step {
  const names = ["one", "two", "three"].map((name) => `bench-${name}`);
  const objects = [
    ...names.map((name) => configMap(name, "default", { text: `${name}\n`.repeat(20) })),
    configMap("bench-revision", "default", { revision }),
  ];
  return stepOf(() => Promise.resolve(objects), ended);
}

function stepOf(
  objects: (cluster: Cluster) => Promise<Manifest[]>,
  ended: (cluster: Cluster) => void = () => {},
): Step {
  return step({
    name: "bench",
    objects,
    async run({ cluster, objects, phase, apply }) {
      await phase("Apply", () => apply(objects));
      ended(cluster);
    },
  });
}

function idle(object: Manifest): Manifest {
  const { spec } = object;
  return spec?.replicas === undefined ? object : { ...object, spec: { ...spec, replicas: 0 } };
}

function definition(index: number): Manifest {
  const [kind, plural] = [`Bench${index}`, `bench${index}s`];
  const schema = { openAPIV3Schema: { type: "object", properties: properties(40) } };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.bench.example.org` },
    spec: {
      group: "bench.example.org",
      scope: "Namespaced",
      names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` },
      versions: [{ name: "v1", served: true, storage: true, schema }],
    },
  };
}

/** As large as the usual ones: a few dozen kilobytes. */
function properties(count: number): Record<string, unknown> {
  const description = "A field of a definition that is about as long as those of real ones. "
    .repeat(8);
  const leaf = (name: string) => [name, { type: "string", description }];
  return Object.fromEntries(Array.from({ length: count }, (_, index) => leaf(`field${index}`)));
}

function plain(namespace: string, index: number): Manifest {
  const name = `bench-${index}`;
  if (index % 3 === 0) {
    const ports = [{ name: "http", port: 80, targetPort: 8080, protocol: "TCP" }];
    return {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name, namespace },
      spec: { type: "ClusterIP", selector: { app: name }, ports },
    };
  }
  if (index % 3 === 1) {
    return { apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace } };
  }
  return configMap(name, namespace, { text: `line ${index}\n`.repeat(500) });
}
