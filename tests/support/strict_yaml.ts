// YAML of others, read strictly before it is pinned: what would be silently dropped or blown up is an error with its
// place.
import { type Document, parseAllDocuments, visit } from "yaml";
import { DeployError, ExitCode, messageOf } from "../../lib/core/error.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { AMBIGUOUS } from "../../lib/render/yaml.ts";

/** An honest file needs far fewer; an alias bomb has millions. */
const MAX_ALIASES = 100;

/**
 * The Kubernetes objects of a YAML text: empty documents are skipped, `List` kinds unwrapped.
 * @throws {DeployError} exit 2 with `file:line:column` for duplicate keys, tabs, unknown tags, alias
 * bombs, plain words that Kubernetes would take for something else, and documents that are no object.
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
  const at = (offset = 0) => {
    const before = text.slice(0, offset).split("\n");
    return `${file}:${before.length}:${before.at(-1)!.length + 1}`;
  };
  const odd = documents.flatMap((document) => ambiguous(document, at));
  if (odd.length > 0) throw refusal(odd);
  return documents.flatMap((document) => {
    const value = plain(document, at);
    if (value === null) return [];
    const objects: unknown[] = isList(value) ? value.items : [value];
    if (objects.every(isManifest)) return objects;
    const where = at(document.contents?.range?.[0]);
    throw refusal([`${where}  not a Kubernetes object: kind or metadata.name is missing`]);
  });
}

/** Where a plain word stands that we would read otherwise than kubectl does. */
function ambiguous(document: Document, at: (offset?: number) => string): string[] {
  const found: string[] = [];
  visit(document, {
    Scalar(_, { type, source = "", range }) {
      if (type !== "PLAIN" || !AMBIGUOUS.test(source)) return;
      found.push(`${at(range?.[0])}  ${source} is another value to YAML 1.1 than to 1.2: quote it`);
    },
  });
  return found;
}

// deno-lint-ignore no-explicit-any
function plain(document: Document, at: (offset?: number) => string): any {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    let offset: number | undefined;
    visit(document, {
      Alias(_, { range }) {
        offset = range?.[0];
        return visit.BREAK;
      },
    });
    throw refusal([`${at(offset)}  ${messageOf(error)}`]);
  }
}

// deno-lint-ignore no-explicit-any
function isManifest(value: any): value is Manifest {
  return [value?.kind, value?.apiVersion, value?.metadata?.name].every((text) =>
    typeof text === "string"
  );
}

// deno-lint-ignore no-explicit-any
function isList(value: any): boolean {
  return /List$/.test(value?.kind) && Array.isArray(value.items);
}

function refusal(where: string[]): DeployError {
  return new DeployError("Cannot read YAML", {
    exitCode: ExitCode.config,
    where,
    fix: "correct the file, or pin one that is whole",
  });
}
