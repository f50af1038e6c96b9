// The laboratory's lists agree with the project's: programs, images and their versions.
import assert from "node:assert/strict";
import { STEPS } from "../../scripts/steps.ts";
import { fixtureFleet } from "../support/cluster_fixture.ts";
import { imageName, imageTable } from "./images.ts";
import { labTools } from "./tools.ts";
import { settingsWith } from "./upstream.ts";

const fleet = await fixtureFleet({ PROFILE: "tests/lab/site.env" });
const central = fleet[0]!;
const tools = await labTools(central);

/** Rows of images.txt: name as written, name with settings filled in, content. */
const rows = (await imageTable()).map((row) => ({ ...row, image: imageName(row, central) }));

Deno.test("every program of the nodes is named once, with a version and a module", () => {
  assert.equal(new Set(tools.map(({ name }) => name)).size, tools.length);
  for (const { name, version, go, minutes } of tools) {
    assert.match(version, /^\d+\.\d+\.\d+$/, name);
    assert.ok(go.module && minutes > 0, name);
  }
});

Deno.test("a program is of the version that its image says, and none is missing", () => {
  for (const { name, image, content } of rows) {
    for (const [, program] of content.matchAll(/bin\/([\w-]+):/g)) {
      if (content.includes(`conf/standin/${program}`)) continue;
      const tool = tools.find((tool) => tool.name === program);
      assert.ok(tool, `${program} of ${image}`);
      if (name.includes("{")) {
        assert.equal(image.split(":").at(-1)!.replace(/^v/, ""), tool.version);
      }
    }
  }
});

Deno.test("Prometheus is built with the discovery of Kubernetes, which promtool goes without", () => {
  const tags = (name: string) => tools.find((tool) => tool.name === name)!.go.tags;
  assert.ok(tags("promtool")!.includes("remove_all_sd"));
  assert.deepEqual(tags("prometheus"), ["netgo"]);
});

Deno.test("every image that a deploy of the laboratory wants is in its table", async () => {
  const there = new Set(rows.map(({ image }) => image));
  // Without upstream's images, and with all of them.
  const settings = settingsWith(await imageTable(), await imageTable());
  const other = await fixtureFleet({ PROFILE: "tests/lab/site.env", ...settings });
  for (const cluster of [...fleet, ...other]) {
    const objects = await Promise.all(
      STEPS.filter(({ skips }) => !skips?.(cluster)).map((step) => step.objects(cluster)),
    );
    const images = JSON.stringify(objects).matchAll(/"image":"([^"]+)"/g);
    assert.deepEqual([...images].map(([, image]) => image).filter((x) => !there.has(x!)), []);
  }
});
