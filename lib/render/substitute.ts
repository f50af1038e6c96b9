// `${NAME}` in the values of an object, and nowhere else.
import type { Vars } from "../core/cluster.ts";
import { nearest } from "../core/nearest.ts";
import { idOf, isObject, type Manifest, type Path, withValue } from "../core/object.ts";
import type { Template } from "./kustomize.ts";

/** Annotation: "disabled" keeps `${...}` in all but the metadata (dashboards, rules, pipelines). */
export const SUBSTITUTE_ANNOTATION = "deploy.miribit.lab/substitute";

/** `${NAME}` or `${NAME?}` in a text; after one more `$` it stays as it is. */
export const VARIABLE = /(\$?)\$\{([^}]*?)(\??)\}/g;
// Kubernetes wants text here, whatever type the setting has.
const ALWAYS_TEXT =
  /(\.|^)(annotations|labels|matchLabels|data|stringData|args|command|parameters|externalLabels)[.[]|\.env\[\d+\]\.value$/;
const ARGUMENT = /\.args\[\d+\]$/;
// A variable here would change what an object is, not what it says.
const FIXED = /^(apiVersion|kind|metadata\.name|metadata\.namespace)$|selector(\.|$)|matchLabels/i;

/** A text or a key with `${` in it. */
export interface Place {
  keys: Path;
  path: string; // the same for people: spec.ports[0].nodePort
  text: string;
  isKey: boolean;
}

/** A template's object with every `${NAME}` of its values replaced; `$${NAME}` stays. */
export function substitute(
  { object, file }: Pick<Template, "object" | "file">,
  vars: Vars,
  problems: string[],
): Manifest {
  const problem = (path: string, what: string) =>
    problems.push(`${idOf(object)}  ${path}${file && `  (${file})`}  ${what}`);

  function replaced({ path, text }: Place): unknown {
    const lookUp = (name: string): unknown => {
      if (Object.hasOwn(vars, name)) return vars[name];
      const near = nearest(name, Object.keys(vars));
      problem(path, `\${${name}}: ${near ? `did you mean ${near}?` : "unknown name"}`);
      return "";
    };
    const whole = /^\$\{([^}?]*)\}$/.exec(text);
    if (whole && !ALWAYS_TEXT.test(path)) return lookUp(whole[1]!);
    // An argument with `${NAME?}` falls away while NAME is empty or false: a program keeps its words until a site sets it.
    let falls = false;
    const filledIn = text.replace(VARIABLE, (all, dollar, name, mark) => {
      if (dollar) return all.slice(1);
      const value = lookUp(name);
      if (mark && !ARGUMENT.test(path)) problem(path, `${all}: only an argument may fall away`);
      falls ||= mark && (value === "" || value === false);
      return mark && value === true ? "" : String(value);
    });
    return falls ? undefined : filledIn;
  }

  let result = object;
  for (const place of placesIn(object)) {
    const { keys, path, text, isKey } = place;
    if (isKey) problem(path, "no variable may stand in a key");
    else if (FIXED.test(path)) problem(path, `${text}: no variable may stand here`);
    else result = withValue(result, keys, replaced(place));
  }
  for (const { keys, path, text } of placesIn(object)) {
    if (!text.includes("?}") || !ARGUMENT.test(path)) continue;
    const list = keys.slice(0, -1);
    const items: unknown[] = list.reduce((node, key) => node[key], result as Manifest[string]);
    result = withValue(result, list, items.filter((one) => one !== undefined));
  }
  return result;
}

const known = new WeakMap<Manifest, Place[]>();

/** Where an object may have variables; one that keeps its text has them in its metadata only. */
export function placesIn(object: Manifest): Place[] {
  return known.getOrInsertComputed(object, () => {
    const isLiteral = object.metadata.annotations?.[SUBSTITUTE_ANNOTATION] === "disabled";
    return isLiteral ? find(object.metadata, ["metadata"], "metadata") : find(object, [], "");
  });
}

function find(node: unknown, keys: Path, path: string): Place[] {
  if (typeof node === "string") {
    return node.includes("${") ? [{ keys, path, text: node, isKey: false }] : [];
  }
  if (Array.isArray(node)) {
    return node.flatMap((item, index) => find(item, [...keys, index], `${path}[${index}]`));
  }
  if (!isObject(node)) return [];
  return Object.entries(node).flatMap(([key, value]) => {
    const below = path ? `${path}.${key}` : key;
    const own = { keys: [...keys, key], path: below, text: key, isKey: true };
    return [...key.includes("${") ? [own] : [], ...find(value, own.keys, below)];
  });
}
