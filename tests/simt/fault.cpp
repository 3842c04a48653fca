#include "simt/fault.h"

#include <gtest/gtest.h>

namespace qtune::simt {
namespace {

FaultCapture* innermost = nullptr;

}  // namespace

std::string to_string(Location at) {
  if (at.line == 0) return "line unknown";
  const std::string path = at.file;
  // Compilers are given whole paths; what counts is the part from the repository's folder on.
  for (const char* folder : {"/kernels/", "/tests/"}) {
    if (const size_t found = path.rfind(folder); found != std::string::npos) {
      return path.substr(found + 1) + ":" + std::to_string(at.line);
    }
  }
  return path + ":" + std::to_string(at.line);
}

void report_fault(const std::string& message, Location at) {
  if (innermost != nullptr) {
    innermost->messages_.push_back(message);
  } else if (at.line != 0) {
    ADD_FAILURE_AT(at.file, at.line) << message;
  } else {
    ADD_FAILURE() << message;
  }
}

FaultCapture::FaultCapture() : outer_(innermost) { innermost = this; }

FaultCapture::~FaultCapture() { innermost = outer_; }

}  // namespace qtune::simt
