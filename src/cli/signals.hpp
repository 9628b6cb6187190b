// SIGTERM, SIGINT and SIGUSR1 ask for an orderly stop after the present step; they may come twice.
#pragma once

namespace stagformer::internal {

void install_signal_handlers();
/// For what has no step to stop after: the signals end the program again.
void restore_default_signals();
int signals_received();
bool stop_signalled();
/// SIGINT, which may ask for less than the end: the present answer's (chat).
int interrupts_received();

}  // namespace stagformer::internal
