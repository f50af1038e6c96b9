// Lists in which a key stands twice: `create` accepts them, server-side apply does not (kubernetes#113482).
import { DeployError, ExitCode } from "../core/error.ts";
import { idOf, isObject, type Manifest } from "../core/object.ts";

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
    duplicates(object.spec, "spec").map((line) => `${idOf(object)}  ${line}`)
  );
  if (where.length === 0) return;
  throw new DeployError("Cannot apply lists that name a thing twice", {
    exitCode: ExitCode.config,
    where,
    fix: "leave one of the two out of the manifest or the patch",
  });
}

function duplicates(node: unknown, path: string): string[] {
  if (!isObject(node)) return [];
  return Object.entries(node).flatMap(([field, value]) => {
    const name = isObject(value) && value.name || field;
    const below = Array.isArray(node) ? `${path}[${name}]` : `${path}.${field}`;
    const keys = Array.isArray(value) ? KEYS[field] : undefined;
    const own = keys ? twice(value as Record<string, unknown>[], keys) : [];
    return [...own.map((key) => `${below}: ${key} twice`), ...duplicates(value, below)];
  });
}

function twice(items: Record<string, unknown>[], fields: string[]): string[] {
  const keys = Map.groupBy(items, (item) => {
    const whole = fields.includes("protocol") ? { protocol: "TCP", ...item } : item;
    return fields.map((field) => whole[field]).filter((part) => part !== undefined).join("/");
  });
  return [...keys].filter(([key, { length }]) => key !== "" && length > 1).map(([key]) => key);
}
