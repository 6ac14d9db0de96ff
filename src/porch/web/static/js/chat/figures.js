/** Numbers as people read them. */

import { cleanText } from "../markdown/text.js";

const counts = new Intl.NumberFormat();

/** "0.4 s", "12 s", "3 min 5 s". */
export function seconds(ms) {
  const value = Math.max(0, ms) / 1000;
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 60) return `${Math.round(value)} s`;
  return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
}

/** "240 ms" below a second, else like `seconds`. */
export function duration(ms) {
  return ms < 1000 ? `${Math.max(0, Math.round(ms))} ms` : seconds(ms);
}

/** Milliseconds since 1970 of a number or an RFC 3339 text; null for anything else. */
export function moment(value) {
  if (value === null || value === undefined) return null;
  const ms = typeof value === "number" ? value : Date.parse(value);
  return Number.isNaN(ms) ? null : ms;
}

function price(cost) {
  const amount = Number(cost.amount);
  if (!Number.isFinite(amount)) return null;
  const digits = amount >= 0.1 || amount === 0 ? 2 : 5;
  return new Intl.NumberFormat(undefined, { style: "currency", currency: cost.currency, maximumFractionDigits: digits }).format(amount);
}

/**
 * What is known of an answer's cost in time, tokens and money, a phrase each; unknowns are left out.
 *
 * Takes a `RunState`, or a run as the API answers it.
 */
export function figures(run) {
  const { usage } = run;
  const started = moment(run.startedAt ?? run.created_at);
  const first = run.firstTokenMs ?? run.first_token_ms;
  const ended = moment(run.endedAt ?? run.finished_at);
  const found = [];
  if (run.model) found.push(cleanText(run.model)); // a server calls its models as it likes
  if (Number.isFinite(first)) found.push(`first token after ${duration(first)}`);
  if (usage) found.push(`${counts.format(usage.input_tokens)} tokens in, ${counts.format(usage.output_tokens)} out`);
  const pace = run.pace ?? run.tokens_per_second;
  if (pace) found.push(`${counts.format(Math.round(pace))} tokens/s`);
  if (started !== null && ended !== null) found.push(`${duration(ended - started)} in all`);
  const cost = usage?.cost ? price(usage.cost) : null;
  if (cost) found.push(cost);
  return found;
}
