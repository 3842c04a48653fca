# tests/fuzz: the readers of files from strangers, fed with damaged ones (docs/fuzzing.md).
#   qtune_fuzz_targets  what is run on an input; the tests replay the corpora through it
#   fuzz_<target>       libFuzzer programs, with -DQTUNE_FUZZ=ON
set(QTUNE_FUZZ_TARGETS safetensors safetensors_index gguf config adapter_config adapter_weights tokenizer_json tokenizer_model)
set(fuzz_dir ${PROJECT_SOURCE_DIR}/tests/fuzz)

set(heap_watch heap_watch_none.cpp)
if(QTUNE_SANITIZE)
  set(heap_watch heap_watch_asan.cpp)
endif()
add_library(qtune_fuzz_targets STATIC ${fuzz_dir}/targets.cpp ${fuzz_dir}/use_files.cpp ${fuzz_dir}/use_tokenizer.cpp ${fuzz_dir}/run_target.cpp
  ${fuzz_dir}/mutate.cpp ${fuzz_dir}/${heap_watch})
target_include_directories(qtune_fuzz_targets PUBLIC ${PROJECT_SOURCE_DIR}/tests)
target_link_libraries(qtune_fuzz_targets PUBLIC qtune_formats)
qtune_warnings(qtune_fuzz_targets)

if(QTUNE_TESTS)
  file(GLOB fuzz_tests CONFIGURE_DEPENDS ${fuzz_dir}/*_test.cpp)
  add_executable(qtune_fuzz_test ${fuzz_tests})
  target_compile_definitions(qtune_fuzz_test PRIVATE QTUNE_FUZZ_CORPUS="${fuzz_dir}/corpus")
  target_link_libraries(qtune_fuzz_test PRIVATE qtune_fuzz_targets GTest::gtest_main GTest::gmock)
  qtune_warnings(qtune_fuzz_test)
  target_link_libraries(qtune_formats_test PRIVATE qtune_fuzz_targets)  # mutation_test.cpp reads with them, too
  gtest_discover_tests(qtune_fuzz_test TEST_PREFIX fuzz. DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 300)
endif()

if(QTUNE_FUZZ)
  foreach(target ${QTUNE_FUZZ_TARGETS})
    add_executable(fuzz_${target} ${fuzz_dir}/libfuzzer_entry.cpp)
    target_compile_definitions(fuzz_${target} PRIVATE QTUNE_FUZZ_TARGET="${target}")
    target_link_libraries(fuzz_${target} PRIVATE qtune_fuzz_targets)
    target_link_options(fuzz_${target} PRIVATE -fsanitize=fuzzer)
    qtune_warnings(fuzz_${target})
  endforeach()
endif()
