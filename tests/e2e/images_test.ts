// Images from a registry of the site's own: one that is not there, and all of them by their digests. On one edge,
// of which nothing but the ingress is restarted.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "../../lib/core/cluster.ts";
import { typeMake } from "../support/make.ts";
import { hook } from "./hooks.ts";
import { check, edges, figure, kube, make, seconds } from "./site.ts";
import { visit } from "./visit.ts";

const edge = edges[0]!, registry = hook("E2E_REGISTRY");
const step = ["05-ingress", `CLUSTER=${edge.id}`];
const absent = registry === "" || text(edge, "INGRESS") !== "traefik";

check(
  "A49: a deploy ends within minutes for an image that its registry does not have",
  async () => {
    const image = text(edge, "TRAEFIK_IMAGE").replace(/\d+$/, "9999");
    const took = await seconds(async () => {
      const { code, output } = await typeMake(step, { TRAEFIK_IMAGE: image });
      assert.equal(code, 7, output);
      assert.match(output, new RegExp(`container traefik: ErrImagePull .*${image}: not found`));
      assert.match(output, /fix.*is not there: its version, or IMAGE_REGISTRY/);
    });
    figure("image that is not there: the deploy ends after", `${took.toFixed(0)} s`);
    assert.equal((await visit(edge, "opensearch")).status, 401, "the old pod is gone");
  },
  absent,
);

check(
  "make pin has the digests of IMAGE_REGISTRY, plan names them, pods are pulled by them",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "pins-"));
    const site = { IMAGE_REGISTRY: registry, IMAGE_PINS_FILE: join(folder, "pinned.json") };
    const image = text(edge, "TRAEFIK_IMAGE").replace(/^[^/]+/, registry);
    try {
      await make(["pin"], site);
      const digest = JSON.parse(await readFile(site.IMAGE_PINS_FILE, "utf8"))[image];
      assert.match(digest, /^sha256:/);
      const plan = await make([`plan-${edge.id}`], site);
      // Of a long value plan shows the beginning.
      assert.ok(plan.output.includes(`${image}@${digest.slice(0, 19)}`), plan.output);
      await make(step, site);
      const { items } = await kube(
        edge,
        "pods",
        "-n",
        "ingress-nginx",
        "-l",
        "app.kubernetes.io/name=traefik",
      );
      // deno-lint-ignore no-explicit-any
      const [pod, ...more] = items.filter((one: any) => !one.metadata.deletionTimestamp);
      assert.equal(more.length, 0);
      assert.equal(pod.spec.containers[0].image, `${image}@${digest}`);
      // containerd names what it has by the first name that it had it under.
      assert.ok(pod.status.containerStatuses[0].imageID.endsWith(`@${digest}`));
    } finally {
      await rm(folder, { recursive: true });
      await make(step);
    }
  },
  absent,
);
