# qtune::libtorch: LibTorch's CPU libraries as imported targets.
#
# LibTorch's own TorchConfig.cmake demands a CUDA toolkit when the wheel was built with CUDA, though the CPU part needs
# none; so the targets are made here. Looked for in: QTUNE_LIBTORCH (a folder holding include/ and lib/), then
# CMAKE_PREFIX_PATH (an unpacked LibTorch), then .deps/torch (where tools/setup.sh puts the wheels).
set(QTUNE_LIBTORCH "" CACHE PATH "LibTorch folder, holding include/ATen and lib/libtorch_cpu.so")
set(candidates ${QTUNE_LIBTORCH} ${CMAKE_PREFIX_PATH} ${PROJECT_SOURCE_DIR}/.deps/torch/torch)
set(qtune_torch_root "")
foreach(dir ${candidates})
  if(EXISTS ${dir}/include/ATen/ATen.h AND EXISTS ${dir}/lib/libtorch_cpu.so)
    set(qtune_torch_root ${dir})
    break()
  endif()
endforeach()
if(NOT qtune_torch_root)
  message(FATAL_ERROR "LibTorch not found: no include/ATen/ATen.h and lib/libtorch_cpu.so in any of: ${candidates}\n"
                      "  ---> run `bash tools/setup.sh`, or give -DQTUNE_LIBTORCH=/path/to/libtorch")
endif()
message(STATUS "LibTorch: ${qtune_torch_root}")

add_library(qtune::libtorch INTERFACE IMPORTED GLOBAL)
# LibTorch carries headers of libraries that qtune takes from the system (fmt, ...) in other versions. Only its own are
# made visible, by links.
set(qtune_torch_include ${PROJECT_BINARY_DIR}/libtorch_include)
file(MAKE_DIRECTORY ${qtune_torch_include})
foreach(entry ATen c10 caffe2 torch)
  file(CREATE_LINK ${qtune_torch_root}/include/${entry} ${qtune_torch_include}/${entry} SYMBOLIC)
endforeach()
# SYSTEM: warnings inside LibTorch's headers are not ours.
target_include_directories(qtune::libtorch SYSTEM INTERFACE ${qtune_torch_include})
target_link_libraries(qtune::libtorch INTERFACE ${qtune_torch_root}/lib/libtorch_cpu.so ${qtune_torch_root}/lib/libc10.so)
# libtorch_cpu.so finds the CUDA runtime and CUPTI wheels beside it by its own rpath; gomp lies in lib/.
file(GLOB qtune_gomp ${qtune_torch_root}/lib/libgomp*.so*)
target_link_libraries(qtune::libtorch INTERFACE ${qtune_gomp})
# at::parallel_for is an OpenMP pragma in a header: without the flag its loops run on one thread.
target_compile_options(qtune::libtorch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
target_link_options(qtune::libtorch INTERFACE -Wl,-rpath,${qtune_torch_root}/lib -Wl,--no-as-needed -Wl,--allow-shlib-undefined)

add_library(qtune_torch_pch STATIC ${PROJECT_SOURCE_DIR}/cmake/torch_pch.cpp)
# The users' defines have to be the header's own, or GCC will not use it.
target_link_libraries(qtune_torch_pch PUBLIC qtune::libtorch fmt::fmt spdlog::spdlog nlohmann_json::nlohmann_json)
target_precompile_headers(qtune_torch_pch PRIVATE <ATen/ATen.h> <nlohmann/json.hpp> <fmt/format.h> <string> <vector> <filesystem>)
target_compile_options(qtune_torch_pch PRIVATE -Winvalid-pch)
