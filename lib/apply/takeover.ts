// Objects that a person has made with plain `kubectl apply`: what was applied that way becomes ours, so that
// an apply of ours takes away what we do not want (kubectl does that for its own manager alone).
import type { Cluster } from "../core/cluster.ts";
import { kindOf } from "../kube/kinds.ts";
import { kubectl } from "../kube/kubectl.ts";
import { type Manifest, OWNER } from "../core/object.ts";

/** Plain `kubectl apply` leaves what it applied here. */
export const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";
const CLIENT_SIDE = "kubectl-client-side-apply";

/** Whether plain `kubectl apply` has had the object. */
export function wasAppliedByHand({ metadata }: Manifest): boolean {
  return metadata.annotations?.[LAST_APPLIED] !== undefined;
}

/** Makes the fields that plain `kubectl apply` has set those of our manager. */
export async function takeOver(
  cluster: Cluster,
  wanted: Manifest,
): Promise<void> {
  const { name, namespace } = wanted.metadata;
  const object = [kindOf(wanted), name];
  const where = namespace ? ["--namespace", namespace] : [];
  const flags = ["--show-managed-fields", "--output", "json"];
  const live = JSON.parse(await kubectl(["get", ...object, ...where, ...flags], { cluster }));
  const patch = [
    { op: "replace", path: "/metadata/managedFields", value: oursNow(live) },
    // Refused when somebody else has written meanwhile.
    { op: "replace", path: "/metadata/resourceVersion", value: live.metadata.resourceVersion },
  ];
  const words = ["patch", ...object, ...where, "--type=json", "--patch", JSON.stringify(patch)];
  await kubectl(words, { cluster });
}

interface Entry {
  manager: string;
  operation: string;
  subresource?: string;
  fieldsV1?: Fields;
}

interface Fields {
  [name: string]: Fields;
}

/** The managers of an object, with the fields of plain `kubectl apply` among ours. */
export function oursNow({ metadata }: Manifest): Entry[] {
  const entries: Entry[] = metadata.managedFields;
  const byHand = entries.filter(({ manager, operation, subresource }) =>
    manager === CLIENT_SIDE && operation === "Update" && !subresource
  );
  const rest = entries.filter((entry) => !byHand.includes(entry));
  return rest.map((entry) =>
    entry.manager === OWNER && entry.operation === "Apply"
      ? {
        ...entry,
        fieldsV1: byHand.reduce((all, { fieldsV1 = {} }) => merged(all, fieldsV1), entry.fieldsV1!),
      }
      : entry
  );
}

function merged(a: Fields, b: Fields): Fields {
  const result = { ...a };
  for (const [name, below] of Object.entries(b)) result[name] = merged(result[name] ?? {}, below);
  return result;
}
