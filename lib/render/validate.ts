// Lists in which a key stands twice: `create` accepts them, server-side apply does not (kubernetes#113482).
import { DeployError, ExitCode } from "../core/error.ts";
import { idOf, type Manifest } from "../core/object.ts";

/** What tells the items of a list apart for the API server, by the field that holds the list. */
const KEYS: Record<string, string[]> = {
  containers: ["name"],
  initContainers: ["name"],
  volumes: ["name"],
  env: ["name"],
  volumeMounts: ["mountPath"],
  ports: ["containerPort", "port", "protocol"],
};

/** Refuses (exit 2) objects of which a list has a key twice, with all of them. */
export function refuseDuplicates(objects: Manifest[]): void {
  const where = objects.flatMap((object) =>
    duplicates(object.spec).map((path) => `${idOf(object)}  spec${path}`)
  );
  if (where.length === 0) return;
  throw new DeployError("Cannot apply lists that name a thing twice", {
    exitCode: ExitCode.config,
    where,
    fix: "leave one of the two out of the manifest or the patch",
  });
}

/** Paths from the node down to what stands there twice. */
function duplicates(node: unknown): string[] {
  if (typeof node !== "object" || node === null) return [];
  const found: string[] = [];
  for (const [field, value] of Object.entries(node)) {
    if (typeof value !== "object") continue;
    const key = Array.isArray(node) ? `[${value?.name ?? field}]` : `.${field}`;
    if (Array.isArray(value) && KEYS[field]) {
      for (const name of twice(value, KEYS[field])) found.push(`${key}: ${name} twice`);
    }
    for (const path of duplicates(value)) found.push(key + path);
  }
  return found;
}

function twice(items: Record<string, unknown>[], fields: string[]): string[] {
  const keys = items.map((item) => {
    const protocol = fields.includes("protocol") ? { protocol: "TCP", ...item } : item;
    return fields.map((field) => protocol[field]).filter((part) => part !== undefined).join("/");
  });
  return [...new Set(keys.filter((key, index) => key !== "" && keys.indexOf(key) !== index))];
}
