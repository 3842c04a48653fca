# qtune::c10d: what dist needs besides LibTorch itself, whose library holds c10d and Gloo but no headers of Gloo.
find_path(QTUNE_GLOO_INCLUDE gloo/transport/device.h)
if(NOT QTUNE_GLOO_INCLUDE)
  message(FATAL_ERROR "Gloo's headers not found ---> install libgloo-dev (Debian), or give -DQTUNE_GLOO_INCLUDE=/folder/with/gloo")
endif()
add_library(qtune::c10d INTERFACE IMPORTED GLOBAL)
target_include_directories(qtune::c10d SYSTEM INTERFACE ${QTUNE_GLOO_INCLUDE} ${qtune_torch_include}/torch/csrc/api/include)
target_compile_definitions(qtune::c10d INTERFACE USE_C10D_GLOO)
