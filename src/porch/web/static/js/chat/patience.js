/** Runs that wait, for a person or for quota: looked at now and then, and followed again once they go on. */

const LOOK_MS = 4000;

export class Patience {
  /**
   * `client()` answers the one of the moment; `resume(run)` follows a run again from its start; `tell(run, waits)` is told what
   * a run waits for, and again when it waits until another moment.
   */
  constructor(client, resume, tell) {
    this.client = client;
    this.resume = resume;
    this.tell = tell;
    this.run = null;
    this.asking = 0;
  }

  /** Whether this run was left at its pause. */
  holds(run) {
    return this.run === run;
  }

  /** Wait with this run. */
  begin(run) {
    this.close();
    this.run = run;
    this.timer = setInterval(() => document.visibilityState === "visible" && !this.asking && this.look(), LOOK_MS);
    this.look();
  }

  /** See whether the run goes on, or is over. */
  async look() {
    const { run } = this;
    if (!run) return;
    const look = (this.newest = {});
    this.asking += 1;
    try {
      const { status, waits_for } = await this.client().run(run);
      // One that was asked for later, such as after a decision, knows better.
      if (this.run !== run || look !== this.newest) return;
      if (status !== "paused") this.#go(run);
      else if (waits_for && waits_for.until !== this.until) {
        this.until = waits_for.until;
        this.tell(run, waits_for);
      }
    } catch {
      // Asked again in a while; the page tells of a server that is away by itself.
    } finally {
      this.asking -= 1;
    }
  }

  /** Answer a call that waits. Throws what the server refuses. */
  async decide(run, approval, decision) {
    const client = this.client();
    await (decision === "approve" ? client.approve(run, approval) : client.deny(run, approval));
    await this.look();
  }

  close() {
    clearInterval(this.timer);
    this.run = null;
    this.until = undefined;
  }

  #go(run) {
    this.close();
    this.resume(run);
  }
}
