# CUDA kernels (kernels/*.cu): raw pointers and streams, no LibTorch. Compiled where nvcc is found; -DQTUNE_CUDA=OFF
# switches them off, ON makes a missing nvcc an error.
set(qtune_cuda_enabled OFF)
if(NOT QTUNE_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(qtune_cuda_enabled ON)
  elseif(QTUNE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "QTUNE_CUDA=ON, but no nvcc was found ---> put nvcc on PATH or give -DCMAKE_CUDA_COMPILER=")
  endif()
endif()
if(qtune_cuda_enabled)
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    # Machine code for A100 and H100, and PTX that newer GPUs compile for themselves.
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real 90-virtual)
  endif()
  enable_language(CUDA)
  file(GLOB qtune_cuda_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/*.cu)
  if(qtune_cuda_sources)
    add_library(qtune_kernels STATIC ${qtune_cuda_sources})
    target_include_directories(qtune_kernels PUBLIC ${PROJECT_SOURCE_DIR})
    # CMake 3.25 refuses CUDA_STANDARD 20 with nvcc 13.
    set_target_properties(qtune_kernels PROPERTIES CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON)
    if(QTUNE_WERROR)
      target_compile_options(qtune_kernels PRIVATE -Werror=all-warnings -Xcompiler=-Wall,-Wextra,-Werror)
    endif()
  endif()
  message(STATUS "CUDA kernels: on (${CMAKE_CUDA_COMPILER})")
else()
  message(STATUS "CUDA kernels: off")
endif()

# libqtune_cuda.so: LibTorch's face of the kernels (src/cuda), loaded by qtune where there is a GPU. Only it is linked
# with LibTorch's CUDA libraries, which need not be there to link it: they are looked for when it is loaded.
function(qtune_cuda_plugin)  # (USES modules...): read by tools/check_layers; their headers are all that is used of them
  find_package(CUDAToolkit REQUIRED)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/cuda/*.cpp)
  add_library(qtune_cuda SHARED ${sources})
  target_include_directories(qtune_cuda PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR} ${CUDAToolkit_INCLUDE_DIRS})
  target_link_libraries(qtune_cuda PRIVATE qtune_kernels qtune::libtorch fmt::fmt CUDA::cublasLt CUDA::cudart
    ${qtune_torch_root}/lib/libtorch_cuda.so ${qtune_torch_root}/lib/libc10_cuda.so)
  set_target_properties(qtune_cuda PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
  # The wheels' CUDA libraries, which libtorch_cuda.so was made for, before the toolkit's.
  target_link_options(qtune_cuda PRIVATE -Wl,-rpath,${qtune_torch_root}/../nvidia/cu13/lib)
  set_target_properties(qtune_kernels PROPERTIES POSITION_INDEPENDENT_CODE ON)
  qtune_warnings(qtune_cuda)
endfunction()
