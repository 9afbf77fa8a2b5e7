package org.corelog.tests;

import java.util.Objects;
import java.util.concurrent.Callable;

/** Runs named checks; each prints one line and none stops the others. */
final class Checks {
    final String bootstrap;
    final String prefix;
    /** What only Corelog refuses or promises is checked too. */
    final boolean corelog;

    Checks(String bootstrap, String prefix, boolean corelog) {
        this.bootstrap = bootstrap;
        this.prefix = prefix;
        this.corelog = corelog;
    }

    /** What a check does. */
    interface Body {
        void run() throws Exception;
    }

    void run(String name, Body body) {
        try {
            body.run();
            System.out.println("ok " + name);
        } catch (Throwable error) {
            error.printStackTrace();
            System.out.println("FAIL " + name + ": " + String.valueOf(error).replace('\n', ' '));
        }
    }

    static void equal(Object actual, Object wanted) {
        if (!Objects.equals(actual, wanted)) {
            throw new AssertionError(actual + " instead of " + wanted);
        }
    }

    static void that(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    /** Holds at once on Corelog, where an admin answer leaves after its effect; within 5 seconds elsewhere. */
    void eventually(Callable<Boolean> holds, String what) throws Exception {
        for (int tries = 0; !holds.call(); tries++) {
            that(!corelog && tries < 50, what);
            Thread.sleep(100);
        }
    }

    /** Lets the metadata of a broker that answers too early settle. Corelog has to do without. */
    void settle() throws InterruptedException {
        if (!corelog) {
            Thread.sleep(500);
        }
    }

    /** Runs {@code action}, which must fail with {@code wanted}, itself or as the cause. */
    static <E extends Throwable> E refused(Class<E> wanted, Callable<?> action) throws Exception {
        Object result;
        try {
            result = action.call();
        } catch (Throwable error) {
            for (Throwable one = error; one != null; one = one.getCause()) {
                if (wanted.isInstance(one)) {
                    return wanted.cast(one);
                }
            }
            throw error;
        }
        throw new AssertionError(wanted.getSimpleName() + " was expected, got " + result);
    }
}
