// The store of the laboratory's registry: every image of the table is in it, and what no release needs any more is not.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { $ } from "zx";
import { projectPath } from "../../lib/core/cluster.ts";
import { fixtureFleet } from "../support/cluster_fixture.ts";
import { buildImages, imageName, imageTable, programsIn } from "./images.ts";

const ignore = Deno.build.os !== "linux" || Deno.uid() !== 0 || !existsSync("/usr/bin/busybox");

Deno.test(
  "buildImages() forgets what the table names no more, also after a run that was cut short",
  { ignore },
  async () => {
    const home = await mkdtemp(join(tmpdir(), "images-"));
    const store = join(home, "run/registry");
    const [central] = await fixtureFleet({ PROFILE: "tests/lab/site.env" });
    const made = (await imageTable()).filter(({ content }) => content);
    const names = made.map((row) => imageName(row, central!));
    const tag = (image: string) =>
      join(
        store,
        "docker/registry/v2/repositories",
        image.replace(/^[^/]+\/(.+):/, "$1/_manifests/tags/"),
      );
    const said: string[] = [];
    const build = () => buildImages(central!, { home, store, say: (line) => said.push(line) });
    const record = async () => JSON.parse(await readFile(join(store, "built.json"), "utf8"));
    async function program(path: string, text: string) {
      await mkdir(dirname(join(home, path)), { recursive: true });
      await writeFile(join(home, path), text);
      await chmod(join(home, path), 0o755);
    }
    const collections = async () =>
      (await readFile(join(home, "collected"), "utf8")).trim().split("\n");
    try {
      await mkdir(join(home, "opensearch/rootfs"), { recursive: true });
      await program(".tools/bin/registry", `#!/bin/sh\necho "$@" >>${home}/collected\n`);
      for (const name of made.flatMap(programsIn)) await program(`.tools/bin/${name}`, name);
      await build();
      assert.deepEqual(Object.keys(await record()), names);
      for (const image of names) assert.ok(existsSync(join(tag(image), "current/link")), image);
      assert.match((await collections())[0]!, /^garbage-collect --delete-untagged /);
      await build();
      assert.deepEqual([said.length, (await collections()).length], [names.length, 1]);

      // A release before this one: it was being built when somebody pressed Ctrl-C.
      const old = "quay.io/thanos/thanos:v0.1.0";
      await mkdir(tag(old), { recursive: true });
      await writeFile(
        join(store, "built.json"),
        JSON.stringify({ ...await record(), [old]: "unfinished" }),
      );
      await program(".tools/bin/traefik", "another");
      await program(".tools/bin/registry", "#!/bin/sh\nexit 1\n");
      await assert.rejects(build());
      const cut = await record();
      assert.deepEqual([
        cut[old],
        Object.values(cut).filter((stamp) => stamp === "unfinished").length,
      ], ["unfinished", 2]);

      await program(".tools/bin/registry", `#!/bin/sh\necho "$@" >>${home}/collected\n`);
      await build();
      assert.deepEqual(Object.keys(await record()), names);
      assert.deepEqual([existsSync(tag(old)), (await collections()).length], [false, 2]);

      // One that upstream.ts has copied is left as it is.
      const copied = { ...await record(), [names[4]!]: `sha256:${"0".repeat(64)}` };
      const last = said.at(-1);
      await writeFile(join(store, "built.json"), JSON.stringify(copied));
      await program(".tools/bin/thanos", "another, too");
      await build();
      assert.deepEqual([await record(), said.at(-1)], [copied, last]);
    } finally {
      await rm(home, { recursive: true });
    }
  },
);

Deno.test(
  "lab up refuses where there are no images, and lab status names others that were left behind",
  { ignore },
  async () => {
    const home = await mkdtemp(join(tmpdir(), "images-"));
    const name = `left${process.pid}`;
    const env = { ...process.env, LAB_NAME: `new${process.pid}`, LAB_HOME: join(home, "new") };
    const sh = $({ quiet: true, nothrow: true, env, cwd: projectPath(".") });
    try {
      for (const record of ["", '{\n "quay.io/a:1": "unfinished"\n}']) {
        if (record) await writeFile(join(home, "new/run/registry/built.json"), record);
        const up = await sh`tests/lab/lab up`;
        assert.deepEqual(
          [up.exitCode, /^Error {2}no images in .*: `make lab` makes them$/m.test(up.stderr)],
          [3, true],
          up.stderr,
        );
        await mkdir(join(home, "new/run/registry"), { recursive: true });
      }
      assert.ok(!existsSync(`/run/netns/new${process.pid}-net`));
      for (const end of ["net", "operator"]) await sh`ip netns add ${name}-${end}`;
      const { stdout } = await sh`tests/lab/lab status`;
      assert.match(
        stdout,
        new RegExp(`^also here {2}${name}: LAB_NAME=${name} LAB_HOME=. tests/lab/lab`, "m"),
      );
    } finally {
      for (const end of ["net", "operator"]) await sh`ip netns del ${name}-${end}`;
      await rm(home, { recursive: true });
    }
  },
);
