# The HTML report's page as C++: src/report/page/* and d3 (version 3, Debian's libjs-d3) as string literals.
# Included by CMakeLists.txt it sets up the module's generated source; run by `cmake -P` it writes that file.
if(CMAKE_SCRIPT_MODE_FILE)
  # A raw string literal of GCC and Clang may be of any length; its delimiter is in none of the files.
  function(read_literal variable)
    set(text "")
    foreach(file ${ARGN})
      file(READ ${file} part)
      string(APPEND text "${part}")
    endforeach()
    set(${variable} "R\"qtune_page(${text})qtune_page\"" PARENT_SCOPE)
  endfunction()
  read_literal(html ${PAGE}/page.html)
  read_literal(style ${PAGE}/style.css)
  string(REPLACE "," ";" scripts "${SCRIPTS}")
  list(TRANSFORM scripts PREPEND ${PAGE}/)
  read_literal(script ${scripts})
  if(D3)
    read_literal(d3 ${D3})
  else()
    set(d3 "\"\"")
  endif()
  file(WRITE ${OUT} "#include \"${HEADER}\"\n\nnamespace qtune::page {\n\n"
    "const std::string_view html = ${html};\nconst std::string_view style = ${style};\n"
    "const std::string_view script = ${script};\nconst std::string_view d3 = ${d3};\n\n}  // namespace qtune::page\n")
  return()
endif()

find_file(QTUNE_D3 d3.min.js PATHS /usr/share/javascript/d3 /usr/share/nodejs/d3 DOC "d3.min.js, version 3 (qtune report)")
set(qtune_d3 ${QTUNE_D3})
if(NOT QTUNE_D3)
  set(qtune_d3 "")
  message(STATUS "d3: not found; qtune report will say so")
endif()
# In this order: each uses what stands above it.
set(qtune_page_scripts unpack.js format.js curves.js plane.js sample.js flow.js tables.js main.js)
set(qtune_page ${PROJECT_SOURCE_DIR}/src/report/page)
list(TRANSFORM qtune_page_scripts PREPEND ${qtune_page}/ OUTPUT_VARIABLE qtune_page_files)
string(REPLACE ";" "," qtune_page_scripts "${qtune_page_scripts}")
add_custom_command(
  OUTPUT ${PROJECT_BINARY_DIR}/report_page.cpp
  COMMAND ${CMAKE_COMMAND} -DPAGE=${qtune_page} -DSCRIPTS=${qtune_page_scripts} -DD3=${qtune_d3}
    -DHEADER=${PROJECT_SOURCE_DIR}/src/report/page_parts.h -DOUT=${PROJECT_BINARY_DIR}/report_page.cpp
    -P ${CMAKE_CURRENT_LIST_FILE}
  DEPENDS ${CMAKE_CURRENT_LIST_FILE} ${qtune_page}/page.html ${qtune_page}/style.css ${qtune_page_files} ${qtune_d3}
  VERBATIM)
target_sources(qtune_report PRIVATE ${PROJECT_BINARY_DIR}/report_page.cpp)
# Its tests look at what the page is told, too.
if(TARGET qtune_report_test)
  target_include_directories(qtune_report_test PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(qtune_report_test PRIVATE ZLIB::ZLIB)
  target_compile_definitions(qtune_report_test PRIVATE QTUNE_BROWSER_CHECK="${PROJECT_SOURCE_DIR}/tools/check_report_page")
endif()
