// YAML of others, read strictly: what would be silently dropped or blown up is an error with its place.
import { type Document, parseAllDocuments, visit } from "yaml";
import { DeployError, ExitCode, messageOf } from "../core/error.ts";
import type { Manifest } from "../core/object.ts";

/** An honest file needs far fewer; an alias bomb has millions. */
const MAX_ALIASES = 100;

/**
 * The Kubernetes objects of a YAML text: empty documents are skipped, `List` kinds unwrapped.
 * @throws {DeployError} exit 2 with `file:line:column` for duplicate keys, tabs, unknown tags, alias
 * bombs and documents that are no object.
 */
export function parseObjects(text: string, file: string): Manifest[] {
  const documents = parseAllDocuments(text, { prettyErrors: true });
  if ("empty" in documents) return [];
  const problems = documents.flatMap(({ errors, warnings }) => [...errors, ...warnings]);
  if (problems.length > 0) {
    throw refusal(problems.map(({ message, linePos }) => {
      const { line, col } = linePos?.[0] ?? { line: 1, col: 1 };
      return `${file}:${line}:${col}  ${message.split(" at line ")[0]}`;
    }));
  }
  return documents.flatMap((document) => {
    const value = plain(document, text, file);
    if (value === null) return [];
    const objects = isList(value) ? value.items : [value];
    for (const object of objects) {
      if (isObject(object)) continue;
      const place = placeOf(text, document.contents?.range?.[0] ?? 0);
      throw refusal([
        `${file}:${place}  not a Kubernetes object: kind or metadata.name is missing`,
      ]);
    }
    return objects as Manifest[];
  });
}

function plain(document: Document, text: string, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    let offset = 0;
    visit(document, {
      Alias(_, alias) {
        offset = alias.range?.[0] ?? 0;
        return visit.BREAK;
      },
    });
    const message = messageOf(error);
    throw refusal([`${file}:${placeOf(text, offset)}  ${message}`]);
  }
}

// deno-lint-ignore no-explicit-any
function isObject(value: any): value is Manifest {
  return typeof value?.kind === "string" && typeof value?.apiVersion === "string" &&
    typeof value?.metadata?.name === "string";
}

// deno-lint-ignore no-explicit-any
function isList(value: any): value is { items: unknown[] } {
  return typeof value?.kind === "string" && value.kind.endsWith("List") &&
    Array.isArray(value.items);
}

function placeOf(text: string, offset: number): string {
  const before = text.slice(0, offset).split("\n");
  return `${before.length}:${before.at(-1)!.length + 1}`;
}

function refusal(where: string[]): DeployError {
  return new DeployError("Cannot read YAML", {
    exitCode: ExitCode.config,
    where,
    fix: "correct the file, or pin one that is whole",
  });
}
