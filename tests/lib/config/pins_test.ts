// The file of pinned images as an operator may have it.
import assert from "node:assert/strict";
import type { DeployError } from "../../../lib/core/error.ts";
import { fleetWith, project, wording } from "../../support/project_fixture.ts";

const IMAGE = "quay.io/thanos/thanos:v1", DIGEST = `sha256:${"a".repeat(64)}`;

Deno.test("loadFleet() gives every cluster the digests of IMAGE_PINS_FILE, or none", async () => {
  await using bare = await project();
  assert.deepEqual((await bare.load()).map(({ digests }) => digests), [
    undefined,
    undefined,
    undefined,
  ]);
  await using place = await project({ "pinned.json": JSON.stringify({ [IMAGE]: DIGEST }) });
  for (const { digests } of await place.load()) {
    assert.deepEqual(digests, new Map([[IMAGE, DIGEST]]));
  }
  await using elsewhere = await project({ "mine.json": JSON.stringify({ [IMAGE]: DIGEST }) });
  const [first] = await elsewhere.load({ IMAGE_PINS_FILE: "env/mine.json" });
  assert.equal(first!.digests!.get(IMAGE), DIGEST);
});

for (
  const [title, text, words] of [
    ["no JSON", "{", /env\/pinned\.json {2}.*mend it, or take it back from git/],
    ["a list", "[1]", /env\/pinned\.json {2}is no JSON object/],
    ["null", "null", /env\/pinned\.json {2}is no JSON object/],
    ["a short digest", `{"${IMAGE}":"sha256:abc"}`, /"quay.*v1": "sha256:abc": expected/],
    ["no digest", `{"${IMAGE}":null}`, /"quay.*v1": null: expected/],
    ["an image without a tag", `{"quay.io/a/b":"${DIGEST}"}`, /"quay\.io\/a\/b"/],
    ["an image with a digest", `{"${IMAGE}@${DIGEST}":"${DIGEST}"}`, /expected "IMAGE:TAG"/],
  ] as const
) {
  Deno.test(`loadFleet() refuses a file of pinned images that has ${title}`, async () => {
    await using place = await project({ "pinned.json": text });
    const error = await place.refusal();
    assert.equal(error.exitCode, 2);
    assert.match(wording(error), words);
    assert.match(error.message, /: 1 problem$/);
  });
}

Deno.test("loadFleet() refuses two files of pinned images in one fleet", async () => {
  const two = fleetWith({ 198: "IMAGE_PINS_FILE=env/other.json" });
  const error = await two.then(() => assert.fail("accepted"), (error: DeployError) => error);
  assert.match(wording(error), /IMAGE_PINS_FILE[^]*make pin writes one for all/);
});
