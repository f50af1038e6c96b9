// README and docs: every link, command, setting and exit code that they name is there.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { projectPath } from "../../lib/core/cluster.ts";
import { ExitCode } from "../../lib/core/error.ts";

const read = (path: string) => readFile(projectPath(path), "utf8");

async function pages(): Promise<Map<string, string>> {
  const found = ["README.md", "README.ko.md", "env/README.md"];
  for (const folder of ["docs", "docs/runbooks"]) {
    const names = await readdir(projectPath(folder));
    found.push(...names.filter((name) => name.endsWith(".md")).map((name) => join(folder, name)));
  }
  return new Map(await Promise.all(found.map(async (path) => [path, await read(path)] as const)));
}

const PAGES = await pages();
const each = [...PAGES];

/** What stands between backquotes and in blocks of a page. */
function codeOf(page: string): string[] {
  const blocks = [...page.matchAll(/```(\w*)\n([^]*?)```/g)].filter(([, language]) => !language)
    .flatMap(([, , block]) => block!.split("\n"));
  const rest = page.replace(/```[^]*?```/g, "");
  return [...blocks, ...[...rest.matchAll(/`([^`\n]+)`/g)].map(([, code]) => code!)]
    .map((line) => line.replace(/\s+#.*/, "").trim())
    .filter(Boolean);
}

/** Where GitHub puts the headings of a page. */
function anchorsOf(page: string): Set<string> {
  const titles = page.replace(/```[^]*?```/g, "").matchAll(/^#+ (.+)$/gm);
  return new Set(
    [...titles].map(([, title]) =>
      title!.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").trim().replace(/\s/g, "-")
    ),
  );
}

Deno.test("every link of README and docs has its file, and its heading", () => {
  const broken = each.flatMap(([path, page]) =>
    [...page.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link!)
      .filter((link) => !/^https?:/.test(link))
      .filter((link) => {
        const [file, anchor] = link.split("#") as [string, string?];
        const target = file ? join(dirname(path), file) : path;
        if (!existsSync(projectPath(target))) return true;
        return anchor !== undefined && !anchorsOf(PAGES.get(target) ?? "").has(anchor);
      })
      .map((link) => `${path}: ${link}`)
  );
  assert.deepEqual(broken, []);
});

Deno.test("every page of docs can be reached from README.md", () => {
  const reached = new Set<string>();
  const visit = (path: string) => {
    if (reached.has(path)) return;
    reached.add(path);
    for (const [, link] of (PAGES.get(path) ?? "").matchAll(/\]\(([^)\s#]+)[^)]*\)/g)) {
      visit(join(dirname(path), link!));
    }
  };
  visit("README.md");
  const lost = [...PAGES.keys()].filter((path) =>
    !reached.has(path) && !path.includes("runbooks/")
  );
  assert.deepEqual(lost, []);
});

/** Words behind make that are no settings: they say what this one command works on. */
const TYPED =
  /^(?:ARGS|CLUSTERS?|CMD|SITE|EDITS|SEED|CASES|ROUNDS|OBJ|FIELD|PLAN|CANARY|WAVES|GROUP|MAX_FAILURES|REPLACE|YES|NAME|NODE_IP|QUERY|SINCE|NAMESPACE|POD|LIMIT|DAY|FROM|CLAIM|AS|BACKUP|PROFILE|UPSTREAM_MIRROR|LAB_\w+|TMC_CACHE|E2E_\w+)$/;

Deno.test("every command of README and docs is a target of the Makefile, with settings that exist", async () => {
  const makefile = await read("Makefile");
  const settings = new Set(Object.keys(JSON.parse(await read("env/schema.json")).properties));
  const rules = [...makefile.matchAll(/^([a-z0-9%$() _-]+?):(?!=)/gm)].flatMap(([, names]) =>
    names!.split(" ")
  );
  const steps = (await readdir(projectPath("scripts"))).filter((name) => /^\d/.test(name));
  const known = new Set([...rules, ...steps.map((name) => name.replace(".ts", ""))]);
  const patterns = rules.filter((name) => name.includes("%")).map((name) => name.replace("%", ""));
  const isTarget = (word: string) =>
    known.has(word) ||
    patterns.some((stem) => new RegExp(`^${stem}(\\d+|<id>|pilot|edges)$`).test(word));
  const wrong = each.flatMap(([path, page]) =>
    codeOf(page).flatMap((code) => {
      const line = /(?:^|&& |\|\| |'|-- )((?:[A-Z_0-9]+=\S+ )*)make\b([^'&|;]*)/.exec(code);
      if (!line) return [];
      const words = line[2]!.replace(/"[^"]*"/g, "").trim().split(/\s+/).filter(Boolean);
      const bad = [
        ...words.filter((word) => /^[a-z0-9]/.test(word) && !isTarget(word)),
        ...[...code.matchAll(/(?:^|\s)([A-Z][A-Z0-9_]+)=/g)].map(([, name]) => name!)
          .filter((name) => !settings.has(name) && !TYPED.test(name)),
      ];
      return bad.map((word) => `${path}: ${word} in ${code}`);
    })
  );
  assert.deepEqual(wrong, []);
});

Deno.test("every setting that README and docs give a value is one of env/schema.json", async () => {
  const settings = new Set(Object.keys(JSON.parse(await read("env/schema.json")).properties));
  const wrong = each.flatMap(([path, page]) =>
    codeOf(page).flatMap((code) => {
      const name = /^([A-Z][A-Z0-9_]{3,})=\S*$/.exec(code)?.[1];
      return name && !settings.has(name) && !TYPED.test(name) ? [`${path}: ${name}`] : [];
    })
  );
  assert.deepEqual(wrong, []);
});

Deno.test("docs/troubleshooting.md has every exit code, and no other", () => {
  const rows = PAGES.get("docs/troubleshooting.md")!.matchAll(/^\| ([\d, ]+?) +\|/gm);
  const told = [...rows].flatMap(([, codes]) => codes!.split(", ").map(Number));
  assert.deepEqual(told, Object.values(ExitCode));
});

Deno.test("a command that docs give without make has the permissions of the Makefile", async () => {
  const [, run] = /^override RUN +:= set -f; (.*)$/m.exec(await read("Makefile"))!;
  const given = each.flatMap(([, page]) => codeOf(page).filter((code) => /deno run /.test(code)));
  assert.ok(given.length > 0);
  for (const code of given) {
    assert.ok(code.startsWith(`${run} scripts/`), code);
    assert.ok(existsSync(projectPath(code.slice(run!.length + 1).split(" ")[0]!)), code);
  }
});

Deno.test("README is one page, and says the same in Korean", () => {
  const english = PAGES.get("README.md")!;
  assert.ok(english.split("\n").length <= 121, "at most 120 lines");
  assert.ok(new TextEncoder().encode(english).length <= 9 * 1024, "at most 9 KB");
  const facts = (page: string) => [
    codeOf(page).filter((code) => !/^%%/.test(code)),
    [...page.matchAll(/\]\(([^)]+)\)/g)].map(([, link]) => link!).filter((link) =>
      !link.startsWith("README")
    ),
    [...page.matchAll(/^#+ /gm)].length,
  ];
  const mermaid = /```mermaid[^]*?```/;
  const korean = PAGES.get("README.ko.md")!;
  assert.deepEqual(facts(korean.replace(mermaid, "")), facts(english.replace(mermaid, "")));
});
