// Every expression of our dashboards has data on a healthy site, or a reason not to.
import assert from "node:assert/strict";
import { list } from "../../lib/core/cluster.ts";
import { expressions, MAY_BE_EMPTY } from "../manifests/expressions.ts";
import { ask, central, check, edges, eventually, figure, PROMETHEUS, QUERY } from "./site.ts";

for (const [cluster, service] of [[central, QUERY], [edges[0]!, PROMETHEUS]] as const) {
  check(`${cluster.id}: every panel of our dashboards has data`, async () => {
    const all = await expressions(cluster);
    const standIns = list(cluster, "STAND_INS");
    const wanted = all.filter(({ dashboard, panel, expr }) =>
      !(`${dashboard}/${panel}` in MAY_BE_EMPTY) &&
      // A stand-in exports nothing, neither to its own dashboard nor to a panel about it.
      !standIns.some((program) => `${dashboard} ${expr}`.replaceAll("_", "-").includes(program))
    );
    await eventually(6, async () => {
      const empty = [];
      for (const { dashboard, panel, expr } of wanted) {
        const { result } = await ask(cluster, service, expr);
        if (result.length === 0) empty.push(`${dashboard}/${panel}: ${expr}`);
      }
      assert.deepEqual(empty, []);
    });
    figure(
      `${cluster.id}: expressions of dashboards with data`,
      `${wanted.length} of ${all.length}`,
    );
  });
}
