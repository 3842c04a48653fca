// SIGINT and SIGTERM ask the training to stop after the current step. One more SIGINT, a second or
// more later, ends it at once.
#pragma once

namespace qtune {

/// Handles both signals while it lives, and puts back what was there before.
class StopRequest {
 public:
  StopRequest();
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  bool asked() const;
};

}  // namespace qtune
