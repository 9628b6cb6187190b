// SIGTERM, SIGINT and SIGUSR1 ask for an orderly stop after the present step; they may come twice.
#pragma once

namespace stagformer::internal {

void install_signal_handlers();
int signals_received();
bool stop_signalled();

}  // namespace stagformer::internal
