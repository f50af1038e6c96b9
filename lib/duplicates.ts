// Lists in which a key stands twice: `create` accepts them, server-side apply does not (kubernetes#113482).
import { DeployError, ExitCode } from "./error.ts";
import { idOf, type Manifest } from "./manifest.ts";

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
    duplicates(object.spec, "spec").map((path) => `${idOf(object)}  ${path}`)
  );
  if (where.length === 0) return;
  throw new DeployError("Cannot apply lists that name a thing twice", {
    exitCode: ExitCode.config,
    where,
    fix: "leave one of the two out of the manifest or the patch",
  });
}

function duplicates(node: unknown, path: string): string[] {
  if (Array.isArray(node)) {
    return node.flatMap((item, index) => duplicates(item, `${path}[${item?.name ?? index}]`));
  }
  if (typeof node !== "object" || node === null) return [];
  return Object.entries(node).flatMap(([field, value]) => {
    const below = `${path}.${field}`;
    const found = Array.isArray(value) && KEYS[field] ? twice(value, KEYS[field]) : [];
    return [...found.map((key) => `${below}: ${key} twice`), ...duplicates(value, below)];
  });
}

function twice(items: Record<string, unknown>[], fields: string[]): string[] {
  const keys = items.map((item) => {
    const protocol = fields.includes("protocol") ? { protocol: "TCP", ...item } : item;
    return fields.map((field) => protocol[field]).filter((part) => part !== undefined).join("/");
  });
  return [...new Set(keys.filter((key, index) => key !== "" && keys.indexOf(key) !== index))];
}
