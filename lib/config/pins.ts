// Digests of images as `make pin` keeps them: read and judged before anything is contacted.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { messageOf } from "../core/error.ts";
import { isDigest, isTagged } from "../core/image.ts";
import { isFields } from "../core/object.ts";
import { shown } from "./files.ts";
import type { Candidate } from "./merge.ts";

/**
 * What stands in IMAGE_PINS_FILE, which is one for the fleet: digests by `[HOST/]PATH:TAG`; undefined without the
 * file. What is wrong goes to `problems`.
 */
export async function readPins(
  root: string,
  drafts: Candidate[],
  problems: string[],
): Promise<Map<string, string> | undefined> {
  const known = drafts.find(({ bad }) => !bad.has("IMAGE_PINS_FILE"));
  if (!known) return undefined;
  const path = resolve(root, String(known.vars.IMAGE_PINS_FILE)), file = shown(root, path);
  try {
    const pins: unknown = JSON.parse(await readFile(path, "utf8"));
    if (!isFields(pins)) throw new Error("is no JSON object");
    const entries = Object.entries(pins) as [string, string][];
    const wrong = entries.filter(([image, digest]) => !isTagged(image) || !isDigest(digest));
    problems.push(
      ...wrong.map(([image, digest]) =>
        `${file}  "${image}": ${
          JSON.stringify(digest)
        }: expected "IMAGE:TAG": "sha256:", 64 hex digits`
      ),
    );
    return new Map(entries);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    const fix =
      "mend it, or take it back from git; without it make pin takes what the tags name now";
    problems.push(`${file}  ${messageOf(error)}: ${fix}`);
  }
}
