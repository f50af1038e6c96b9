import assert from "node:assert/strict";
import { ensure } from "../../../lib/core/resource.ts";
import { DeployError } from "../../../lib/core/error.ts";
import { onlyDefault } from "../../../lib/kube/storage_class.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { fakeKubectl } from "../../support/fake_kubectl.ts";

const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });
const STABLE = "storageclass.kubernetes.io/is-default-class";
const BETA = "storageclass.beta.kubernetes.io/is-default-class";

function classes(annotations: Record<string, Record<string, string>>): string {
  const items = Object.entries(annotations).map(([name, annotations]) => ({
    apiVersion: "storage.k8s.io/v1",
    kind: "StorageClass",
    metadata: { name, annotations },
  }));
  return JSON.stringify({ items });
}

async function kept(annotations: Record<string, Record<string, string>>) {
  const calls = await fakeKubectl([
    { on: "get storageclasses", stdout: classes(annotations) },
    { on: "annotate" },
  ]);
  const { outcome, look } = await ensure(onlyDefault("longhorn"), cluster);
  const written = (await calls()).map(({ args }) => args.replace(/^--\S+ --\S+ /, ""))
    .filter((args) => args.startsWith("annotate"));
  return { outcome, fields: look.fields, written };
}

Deno.test("A53: onlyDefault() demotes the class that an addon made default again", async () => {
  const { outcome, fields, written } = await kept({
    longhorn: { [STABLE]: "false" },
    standard: { [STABLE]: "true" },
  });
  assert.deepEqual(written, [
    `annotate --overwrite storageclass longhorn ${STABLE}=true`,
    `annotate --overwrite storageclass standard ${STABLE}=false ${BETA}-`,
  ]);
  assert.equal(outcome, "configured");
  assert.deepEqual(fields, ['default: "standard" -> "longhorn"']);
});

Deno.test("A53: onlyDefault() leaves one of two defaults, also of the old name", async () => {
  const { fields } = await kept({ longhorn: { [STABLE]: "true" }, gp2: { [BETA]: "true" } });
  assert.deepEqual(fields, ['default: "gp2, longhorn" -> "longhorn"']);
});

Deno.test("onlyDefault() writes nothing when all is well", async () => {
  const { outcome, written } = await kept({ longhorn: { [STABLE]: "true" }, standard: {} });
  assert.deepEqual([outcome, written], ["unchanged", []]);
});

Deno.test("onlyDefault() does not demote anything for a class that does not exist", async () => {
  const calls = await fakeKubectl([{ on: "get", stdout: classes({ standard: {} }) }]);
  const error = await ensure(onlyDefault("longhorn"), cluster).catch((error) => error);
  assert.ok(error instanceof DeployError);
  assert.equal(error.exitCode, 7);
  assert.match(error.where.join(), /standard/);
  assert.equal((await calls()).length, 2);
});
