#include "simt/fault.h"

#include <gtest/gtest.h>

#include <string_view>

namespace qtune::simt {
namespace {

FaultCapture* innermost = nullptr;

}  // namespace

std::string to_string(Location at) {
  if (at.line == 0) return "line unknown";
  std::string_view path = at.file;
  const std::string_view root = QTUNE_SOURCE_ROOT "/";
  if (path.substr(0, root.size()) == root) path.remove_prefix(root.size());
  return std::string(path) + ":" + std::to_string(at.line);
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
