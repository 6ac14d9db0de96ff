const PATIENCE_S = 5;

/** What can go wrong between a page and a Porch server. `message` is a sentence that a person can act on. */
export class PorchError extends Error {
  /**
   * @param {string} message
   * @param {{status?: number, code?: string, errors?: object[], retryAfter?: number|null, cause?: unknown}} [about]
   *   `status` 0 is the network; `retryAfter` is in seconds; `errors` names what is wrong in the body, piece by piece.
   */
  constructor(message, { status = 0, code = "unreachable", errors = [], retryAfter = null, cause } = {}) {
    super(message, { cause });
    this.name = "PorchError";
    this.status = status;
    this.code = code;
    this.errors = errors;
    this.retryAfter = retryAfter;
  }

  /**
   * From an answer that is no success. A body that is no problem (RFC 9457) is not repeated.
   * @param {Response} response
   * @returns {Promise<PorchError>}
   */
  static async of(response) {
    const problem = await response.json().catch(() => null);
    const seconds = Number.parseFloat(response.headers.get("Retry-After") ?? "");
    const about = { status: response.status, retryAfter: Number.isFinite(seconds) ? seconds : null };
    if (typeof problem?.detail !== "string") {
      const sentence = `The server answered ${response.status}, and not in the way of Porch. Reload the page, or try again in a moment.`;
      return new PorchError(sentence, { ...about, code: "unknown" });
    }
    return new PorchError(problem.detail, {
      ...about,
      code: String(problem.code ?? "unknown"),
      errors: Array.isArray(problem.errors) ? problem.errors : [],
    });
  }

  /** @param {unknown} [cause] */
  static unreachable(cause) {
    return new PorchError("Porch cannot be reached just now. Check the connection, or whether the server runs.", { cause });
  }

  /** What a server, or a proxy before one, says while it cannot answer for the moment. */
  get passing() {
    // Whoever has to wait for long is told so.
    if (this.status === 429 && (this.retryAfter ?? 0) > PATIENCE_S) return false;
    return [0, 429, 502, 503, 504].includes(this.status) ? this.code !== "stream_broken" : this.code === "in_progress";
  }
}
