# The kernels' sources compiled as C++ and run thread by thread on the CPU (docs/simt.md): qtune_simt (the emulation),
# qtune_kernels_simt (kernels/*.cu) and their tests. Needs headers of the CUDA runtime, no toolkit and no nvcc.
set(qtune_cuda_headers "")
foreach(dir
    ${PROJECT_SOURCE_DIR}/.deps/torch/nvidia/cu13/include
    ${qtune_torch_root}/../nvidia/cu13/include
    ${QTUNE_LIBTORCH}/../nvidia/cu13/include
    ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES}
    $ENV{CUDA_HOME}/include
    /usr/local/cuda/include)
  if(EXISTS ${dir}/cuda_bf16.h AND EXISTS ${dir}/cuda_runtime_api.h)
    set(qtune_cuda_headers ${dir})
    break()
  endif()
endforeach()
if(NOT qtune_cuda_headers)
  message(STATUS "Kernel tests on the CPU: off, no cuda_bf16.h and cuda_runtime_api.h found (the wheel nvidia-cuda-runtime has them)")
  return()
endif()
message(STATUS "Kernel tests on the CPU: on (${qtune_cuda_headers})")

file(GLOB simt_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/simt/*.cpp)
list(FILTER simt_sources EXCLUDE REGEX "_test\\.cpp$")
add_library(qtune_simt STATIC ${simt_sources})
target_include_directories(qtune_simt PUBLIC ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/tests)
target_include_directories(qtune_simt SYSTEM PUBLIC ${qtune_cuda_headers})
target_compile_definitions(qtune_simt PUBLIC QTUNE_SIMT PRIVATE QTUNE_SOURCE_ROOT="${PROJECT_SOURCE_DIR}")
target_compile_options(qtune_simt PUBLIC -Wno-unknown-pragmas)  # "#pragma unroll"
target_link_libraries(qtune_simt PUBLIC GTest::gtest)
# All kernel tests wait for it, in debug builds too.
target_compile_options(qtune_simt PRIVATE -O2 $<$<BOOL:${QTUNE_SANITIZE}>:-fno-sanitize=undefined>)
qtune_warnings(qtune_simt)

# Calls at each access to memory (tests/simt/instrumented_access.cpp); they exclude AddressSanitizer's.
set(qtune_simt_watched "")
if(NOT QTUNE_SANITIZE)
  set(qtune_simt_watched -fsanitize=thread)
endif()

# A .cu file can have one language in a folder, and nvcc's library has it as CUDA: here a .cpp includes it.
add_library(qtune_kernels_simt STATIC)
file(GLOB kernel_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/*.cu)
list(FILTER kernel_sources EXCLUDE REGEX "_sm90\\.cu$")  # Hopper's own instructions
foreach(source ${kernel_sources})
  get_filename_component(name ${source} NAME_WE)
  set(wrapper ${PROJECT_BINARY_DIR}/kernels_simt/${name}.cpp)
  file(CONFIGURE OUTPUT ${wrapper} CONTENT "#include \"kernels/${name}.cu\"\n")
  target_sources(qtune_kernels_simt PRIVATE ${wrapper})
endforeach()
target_link_libraries(qtune_kernels_simt PUBLIC qtune_simt)
if(qtune_simt_watched)
  target_compile_options(qtune_kernels_simt PRIVATE ${qtune_simt_watched})
  target_compile_definitions(qtune_kernels_simt PUBLIC QTUNE_SIMT_WATCHED)
endif()
target_compile_options(qtune_kernels_simt PRIVATE -ffp-contract=off)  # token salience, to the last bit as src/prune
qtune_warnings(qtune_kernels_simt)
# What a kernel holds between two barriers under one condition is "uninitialized" to GCC at -O3.
target_compile_options(qtune_kernels_simt PRIVATE -Wno-uninitialized -Wno-maybe-uninitialized)

function(qtune_simt_test folder)
  file(GLOB tests CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${folder}/*_test.cpp)
  add_executable(qtune_${folder}_test ${tests})
  target_link_libraries(qtune_${folder}_test PRIVATE ${ARGN} GTest::gtest_main GTest::gmock)
  qtune_warnings(qtune_${folder}_test)
  gtest_discover_tests(qtune_${folder}_test TEST_PREFIX ${folder}. DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 300 ENVIRONMENT OMP_WAIT_POLICY=passive)
endfunction()
qtune_simt_test(simt qtune_simt)
if(qtune_simt_watched)
  set_source_files_properties(${PROJECT_SOURCE_DIR}/tests/simt/planted_global_races_test.cpp PROPERTIES
    COMPILE_OPTIONS "${qtune_simt_watched}" COMPILE_DEFINITIONS QTUNE_SIMT_WATCHED)
endif()
qtune_simt_test(kernels qtune_kernels_simt qtune_prune)  # prune: the choice of tokens, exactly

# The kernels' torch face (src/cuda) on CPU tensors: whole models on emulated kernels, in tests/cuda.
function(qtune_kernel_ops_test)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/cuda/kernel_ops*.cpp ${PROJECT_SOURCE_DIR}/tests/cuda/*.cpp)
  add_executable(qtune_cuda_test ${sources} ${PROJECT_SOURCE_DIR}/src/cuda/cached_attention.cpp)
  target_include_directories(qtune_cuda_test PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_compile_definitions(qtune_cuda_test PRIVATE QTUNE_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data")
  target_link_libraries(qtune_cuda_test PRIVATE qtune_optim qtune_score qtune_kernels_simt GTest::gtest_main GTest::gmock)
  qtune_warnings(qtune_cuda_test)
  gtest_discover_tests(qtune_cuda_test TEST_PREFIX cuda. DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 300 ENVIRONMENT OMP_WAIT_POLICY=passive)
endfunction()
