// What goes wrong in an emulated kernel: one line that names the fault, the kernel, block, thread and source line.
// Without a FaultCapture in scope a fault fails the running test.
#pragma once

#include <string>
#include <vector>

namespace qtune::simt {

/// A place in a kernel's source; line 0 = not known.
struct Location {
  const char* file = "";
  int line = 0;
};

std::string to_string(Location at);

/// Fails the running test, or adds to the innermost FaultCapture.
void report_fault(const std::string& message, Location at);

/// Collects the faults of its lifetime instead of failing the test.
class FaultCapture {
 public:
  FaultCapture();
  ~FaultCapture();
  FaultCapture(const FaultCapture&) = delete;
  FaultCapture& operator=(const FaultCapture&) = delete;

  const std::vector<std::string>& messages() const { return messages_; }

 private:
  friend void report_fault(const std::string&, Location);
  std::vector<std::string> messages_;
  FaultCapture* outer_;
};

}  // namespace qtune::simt
