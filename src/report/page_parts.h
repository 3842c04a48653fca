// The page's sources (src/report/page), put into the program when it is built: cmake/QtuneReportPage.cmake.
#pragma once

#include <string_view>

namespace qtune::page {

extern const std::string_view html;
extern const std::string_view style;
extern const std::string_view script;  // all .js files, one after the other
extern const std::string_view d3;      // empty: libjs-d3 was not there

}  // namespace qtune::page
