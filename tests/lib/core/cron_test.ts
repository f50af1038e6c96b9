import assert from "node:assert/strict";
import { clockOf, cronInUtc, daysBetween, isCron } from "../../../lib/core/time.ts";

const NOW = new Date("2026-11-29T12:00:00Z");

Deno.test("P8: a nightly hour of the site is the same hour in UTC", () => {
  const wanted: [cron: string, zone: string, utc: string | undefined][] = [
    ["0 3 * * *", "UTC", "0 3 * * *"],
    ["never", "Asia/Seoul", "never"],
    ["0 3 * * *", "Asia/Seoul", "0 18 * * *"],
    ["30 12 * * *", "Asia/Seoul", "30 3 * * *"],
    ["0 3,15 * * *", "Asia/Seoul", "0 6,18 * * *"],
    ["*/30 3 * * *", "Asia/Seoul", "0,30 18 * * *"],
    // Across midnight the day of the week goes along.
    ["0 3 * * MON", "Asia/Seoul", "0 18 * * 0"],
    ["0 3 * * 0,3", "Asia/Seoul", "0 18 * * 2,6"],
    ["0 20 * * SAT", "America/New_York", "0 1 * * 0"],
    ["0 12 1 1 *", "Asia/Seoul", "0 3 1 1 *"],
    // By winter's time, whatever the season.
    ["0 3 * * *", "Europe/Berlin", "0 2 * * *"],
    ["0 3 * * *", "Australia/Sydney", "0 17 * * *"],
    ["15 3 * * *", "Asia/Kolkata", "45 21 * * *"],
    ["0 4 * * *", "Pacific/Kiritimati", "0 14 * * *"],
    ["0 20 * * *", "Etc/GMT+12", "0 8 * * *"],
    // What UTC cannot say.
    ["0 3 1 * *", "Asia/Seoul", undefined],
    ["0 3 * 1 *", "Asia/Seoul", undefined],
    ["0 3,15 * * MON", "Asia/Seoul", undefined],
    ["0,45 3 * * *", "Asia/Kolkata", undefined],
  ];
  for (const [cron, zone, utc] of wanted) {
    assert.equal(cronInUtc(cron, zone, NOW), utc, `${cron} ${zone}`);
    if (utc && utc !== "never") assert.ok(isCron(utc), utc);
  }
});

Deno.test("P8: every nightly line runs at the instants of its zone", () => {
  for (const zone of ["Asia/Seoul", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia"]) {
    for (let hour = 0; hour < 24; hour++) {
      const [minute, at, , , weekday] = cronInUtc(`10 ${hour} * * 3`, zone, NOW)!.split(" ");
      // 4 January 2026 is a Sunday.
      const day = new Date(Date.UTC(2026, 0, 4 + Number(weekday), Number(at), Number(minute)));
      const there = clockOf(zone)(day);
      assert.match(there, new RegExp(`T${String(hour).padStart(2, "0")}:10:`), zone);
      assert.equal(new Date(`${there.slice(0, 10)}T00:00:00Z`).getUTCDay(), 3, zone);
    }
  }
});

Deno.test("daysBetween() counts by the coarsest field", () => {
  const days = ["0 3 * * *", "0 3 * * 1", "0 3 1 * *", "0 3 1 1 *"].map(daysBetween);
  assert.deepEqual(days, [1, 7, 31, 366]);
});
