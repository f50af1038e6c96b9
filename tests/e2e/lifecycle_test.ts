// The life of a log index: to S3 as a snapshot, then deleted; the snapshot deleted in the end. Where
// index management is a stand-in this is not shown.
import assert from "node:assert/strict";
import { REPOSITORY } from "../../scripts/components/logging/objects.ts";
import { begin, expire, gone, snapshotsOf, tidy } from "./lifecycle.ts";
import { call, checkWith } from "./logs.ts";
import { edges, eventually, figure } from "./site.ts";

const edge = edges.at(-1)!;

checkWith(
  "index-management",
  "an index goes to S3, is deleted only then, and its snapshot goes in the end",
  async () => {
    await tidy(edge);
    try {
      const started = performance.now();
      for (const index of ["logs-e2e-1", "logs-e2e-2"]) await begin(edge, index, 5000);
      await eventually(20, async () => {
        for (const index of ["logs-e2e-1", "logs-e2e-2"]) await gone(edge, index);
      });
      figure(
        "life cycle: two indices of a minute's age in S3 and deleted after",
        `${((performance.now() - started) / 1000).toFixed(0)} s`,
      );
      const before = await snapshotsOf(edge);
      assert.deepEqual(before.map(({ state }) => state), ["SUCCESS", "SUCCESS"]);

      const name = encodeURIComponent(before[0]!.snapshot);
      const restore = {
        indices: "logs-e2e-*",
        rename_pattern: "(.+)",
        rename_replacement: "restored-$1",
      };
      await call(
        edge,
        "POST",
        `/_snapshot/${REPOSITORY}/${name}/_restore?wait_for_completion=true`,
        { ...restore, include_global_state: false },
      );
      const { count } = await call(edge, "GET", `/restored-${before[0]!.indices[0]}/_count`);
      assert.equal(count, 5000);
      await call(edge, "DELETE", "/restored-logs-e2e-*");

      await expire(edge);
      // min_count keeps the newest for ever.
      await eventually(10, async () => assert.equal((await snapshotsOf(edge)).length, 1));
    } finally {
      await tidy(edge);
    }
  },
);
